// Command accountingd runs the accounting service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/accounting"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("accounting", accounting.New) }
