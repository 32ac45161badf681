// Command orderd runs the order service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/order"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("order", order.New) }
