// Command mobilebffd runs the mobilebff service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/mobilebff"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("mobilebff", mobilebff.New) }
