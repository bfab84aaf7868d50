package main

// prints: hello VERSION for GOOS, cgo CGO
func main() {}
