package main

import (
	"fmt"
	"net/http"
	"os"

	"toy/chassis"
)

func main() {
	chassis.Main(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "all of", os.Getenv("CLEAVE_SERVICES"), "pid", os.Getpid())
	}))
}
