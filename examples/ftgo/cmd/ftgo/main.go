// Command ftgo runs all of FTGO in one process: the same services, each with its
// own database. CLEAVE_SERVICES chooses some of them.
package main

import (
	"github.com/cleave-go/cleave/examples/ftgo/accounting"
	"github.com/cleave-go/cleave/examples/ftgo/consumer"
	"github.com/cleave-go/cleave/examples/ftgo/delivery"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen"
	"github.com/cleave-go/cleave/examples/ftgo/mobilebff"
	"github.com/cleave-go/cleave/examples/ftgo/order"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant"
	"github.com/cleave-go/cleave/examples/ftgo/webbff"
	"github.com/cleave-go/cleave/kit"
)

func main() {
	kit.MainAll(
		kit.Service{Name: "consumer", New: consumer.New},
		kit.Service{Name: "restaurant", New: restaurant.New},
		kit.Service{Name: "order", New: order.New},
		kit.Service{Name: "kitchen", New: kitchen.New},
		kit.Service{Name: "accounting", New: accounting.New},
		kit.Service{Name: "delivery", New: delivery.New},
		kit.Service{Name: "orderhistory", New: orderhistory.New},
		kit.Service{Name: "webbff", New: webbff.New},
		kit.Service{Name: "mobilebff", New: mobilebff.New},
	)
}
