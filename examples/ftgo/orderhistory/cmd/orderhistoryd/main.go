// Command orderhistoryd runs the orderhistory service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("orderhistory", orderhistory.New) }
