module example.test/hello

go 1.23

require (
	golang.test/x/text v0.20.0
)
