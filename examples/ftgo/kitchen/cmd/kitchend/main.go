// Command kitchend runs the kitchen service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/kitchen"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("kitchen", kitchen.New) }
