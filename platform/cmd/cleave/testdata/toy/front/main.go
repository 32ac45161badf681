package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"toy/chassis"
)

func main() {
	time.Sleep(50 * time.Millisecond) // the work of starting
	chassis.Main(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "front version 1 pid", os.Getpid())
	}))
}
