// Command restaurantd runs the restaurant service.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/restaurant"
	"github.com/cleave-go/cleave/kit"
)

func main() { kit.Main("restaurant", restaurant.New) }
