package shop

import "orders"

func view(e orders.Event) {
	switch e.(type) { // want `the switch over Event forgets Approved`
	case orders.Placed, *orders.Moved:
	}
	switch e.(type) {
	case orders.Placed, *orders.Moved, orders.Approved:
	}
}
