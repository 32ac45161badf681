// Command consumerd runs the consumer service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/consumer"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("consumer", consumer.New) }
