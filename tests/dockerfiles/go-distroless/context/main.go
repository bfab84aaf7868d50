package main

// prints: manager, cgo CGO
