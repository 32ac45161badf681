package main

import "github.com/cleave-go/cleave/bench/internal/wire"

func main() { wire.Main() }
