package mobilebff

import (
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/graphql"
)

func TestStageIsTheFurthestKnown(t *testing.T) {
	ticket := func(s kitchenapi.TicketStatus) *kitchenapi.Ticket { return &kitchenapi.Ticket{Status: s} }
	delivery := func(s deliveryapi.DeliveryStatus) *deliveryapi.Delivery { return &deliveryapi.Delivery{Status: s} }
	for _, tt := range []struct {
		status   string
		ticket   *kitchenapi.Ticket
		delivery *deliveryapi.Delivery
		want     string
	}{
		{"APPROVAL_PENDING", nil, nil, "waiting"},
		{"REJECTED", nil, nil, "rejected"},
		{"CANCELLED", ticket(kitchenapi.TicketStatus_CANCELLED), nil, "cancelled"},
		{"APPROVED", nil, nil, "confirmed"},
		{"APPROVED", ticket(kitchenapi.TicketStatus_ACCEPTED), delivery(deliveryapi.DeliveryStatus_SCHEDULED), "confirmed"},
		{"APPROVED", ticket(kitchenapi.TicketStatus_PREPARING), delivery(deliveryapi.DeliveryStatus_SCHEDULED), "preparing"},
		{"APPROVED", ticket(kitchenapi.TicketStatus_READY_FOR_PICKUP), delivery(deliveryapi.DeliveryStatus_PICKED_UP), "on its way"},
		{"APPROVED", ticket(kitchenapi.TicketStatus_PICKED_UP), nil, "on its way"},
		{"APPROVED", ticket(kitchenapi.TicketStatus_PICKED_UP), delivery(deliveryapi.DeliveryStatus_DELIVERED), "delivered"},
	} {
		if got := stage(summary{status: tt.status}, tt.ticket, tt.delivery); got != tt.want {
			t.Errorf("an order that is %s, %v, %v: got %q, want %q", tt.status, tt.ticket, tt.delivery, got, tt.want)
		}
	}
}

func TestCardsReadLikeText(t *testing.T) {
	s := summary{lines: []line{{"Chicken Vindaloo", 2}, {"Naan", 1}}}
	if got, want := title(s, &restaurantapi.Restaurant{Name: "Ajanta"}), "Ajanta: 2 × Chicken Vindaloo, 1 × Naan"; got != want {
		t.Errorf("title: got %q, want %q", got, want)
	}
	if got, want := title(s, nil), "2 × Chicken Vindaloo, 1 × Naan"; got != want {
		t.Errorf("title without its restaurant: got %q, want %q", got, want)
	}
	if got, want := price(1205, "USD"), "$12.05"; got != want {
		t.Errorf("price: got %q, want %q", got, want)
	}
	menu := &restaurantapi.Restaurant{Menu: []*restaurantapi.MenuItem{
		{Price: &restaurantapi.Money{Amount: 900, Currency: "USD"}}, {Price: &restaurantapi.Money{Amount: 250, Currency: "USD"}},
	}}
	if got, want := cheapest(menu), "from $2.50"; got != want {
		t.Errorf("cheapest: got %q, want %q", got, want)
	}
}

func TestEtaIsKnownUntilTheFoodLeaves(t *testing.T) {
	now := time.Date(2026, 11, 2, 18, 0, 0, 0, time.UTC)
	accepted := &kitchenapi.Ticket{ReadyBy: timestamppb.New(now.Add(20 * time.Minute))}
	if got := eta(accepted, "preparing", now); got != int64(20) {
		t.Errorf("got %v, want 20", got)
	}
	if got := eta(accepted, "preparing", now.Add(time.Hour)); got != int64(0) {
		t.Errorf("late: got %v, want 0", got)
	}
	if got := eta(accepted, "on its way", now); got != nil {
		t.Errorf("on its way: got %v, want nothing", got)
	}
	if got := eta(&kitchenapi.Ticket{}, "confirmed", now); got != nil {
		t.Errorf("nothing promised: got %v, want nothing", got)
	}
}

func TestGraphFitsTheServices(t *testing.T) {
	client := func(string) *connect.Client { return nil }
	if _, err := graphql.Load(graph, &graphql.Options{Client: client, Resolvers: newScreens(client).resolvers()}); err != nil {
		t.Fatal(err)
	}
}
