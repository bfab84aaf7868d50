package main

// prints: tool for GOOS
