package mobilebff

import (
	"fmt"
	"strings"
	"time"

	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/orderhistoryapi"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
)

// An order comes from its owner or from the history view: both say what a card
// needs, each in its own message.
type line struct {
	name     string
	quantity int32
}

type summary struct {
	id     string
	status string
	lines  []line
	total  int64 // minor units
	unit   string
}

func summaryOf(order any) (summary, error) {
	switch o := order.(type) {
	case *orderapi.Order:
		s := summary{id: o.Id, status: o.Status.String(), total: o.GetTotal().GetAmount(), unit: o.GetTotal().GetCurrency()}
		for _, l := range o.LineItems {
			s.lines = append(s.lines, line{l.Name, l.Quantity})
		}
		return s, nil
	case *orderhistoryapi.Order:
		s := summary{id: o.Id, status: o.Status, total: o.GetTotal().GetAmount(), unit: o.GetTotal().GetCurrency()}
		for _, l := range o.LineItems {
			s.lines = append(s.lines, line{l.Name, l.Quantity})
		}
		return s, nil
	}
	return summary{}, fmt.Errorf("a card cannot show a %T", order)
}

// title reads "Ajanta: 2 × Chicken Vindaloo, 1 × Naan"; without the restaurant
// it begins with the food.
func title(s summary, r *restaurantapi.Restaurant) string {
	food := make([]string, len(s.lines))
	for i, l := range s.lines {
		food[i] = fmt.Sprintf("%d × %s", l.quantity, l.name)
	}
	text := strings.Join(food, ", ")
	if r == nil {
		return text
	}
	return r.Name + ": " + text
}

// stage is the furthest that anybody knows of. While ticket or delivery cannot
// be had it is what the order itself says.
func stage(s summary, t *kitchenapi.Ticket, d *deliveryapi.Delivery) string {
	switch s.status {
	case orderapi.OrderStatus_APPROVAL_PENDING.String():
		return "waiting"
	case orderapi.OrderStatus_REJECTED.String():
		return "rejected"
	case orderapi.OrderStatus_CANCELLED.String():
		return "cancelled"
	}
	switch d.GetStatus() {
	case deliveryapi.DeliveryStatus_DELIVERED:
		return "delivered"
	case deliveryapi.DeliveryStatus_PICKED_UP:
		return "on its way"
	}
	switch t.GetStatus() {
	case kitchenapi.TicketStatus_PREPARING, kitchenapi.TicketStatus_READY_FOR_PICKUP:
		return "preparing"
	case kitchenapi.TicketStatus_PICKED_UP:
		return "on its way"
	}
	return "confirmed"
}

// under reports whether an order at this stage still moves.
func under(stage string) bool {
	return stage == "waiting" || stage == "confirmed" || stage == "preparing" || stage == "on its way"
}

// eta returns the minutes until the restaurant has promised to be ready, or nil
// when it has promised nothing or the food has left.
func eta(t *kitchenapi.Ticket, stage string, now time.Time) any {
	if t.GetReadyBy() == nil || stage != "confirmed" && stage != "preparing" {
		return nil
	}
	return max(0, int64(t.ReadyBy.AsTime().Sub(now).Round(time.Minute)/time.Minute))
}

// price reads "$12.34"; other currencies are named.
func price(amount int64, currency string) string {
	text := fmt.Sprintf("%d.%02d", amount/100, amount%100)
	if currency == "USD" {
		return "$" + text
	}
	return text + " " + currency
}

func cheapest(r *restaurantapi.Restaurant) string {
	var best *restaurantapi.Money
	for _, item := range r.Menu {
		if p := item.GetPrice(); best == nil || p.GetAmount() < best.GetAmount() {
			best = p
		}
	}
	return "from " + price(best.GetAmount(), best.GetCurrency())
}
