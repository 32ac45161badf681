// Command deliveryd runs the delivery service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/delivery"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("delivery", delivery.New) }
