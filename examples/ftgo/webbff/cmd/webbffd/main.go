// Command webbffd runs the webbff service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/webbff"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("webbff", webbff.New) }
