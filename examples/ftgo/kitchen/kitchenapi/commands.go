package kitchenapi

import "github.com/cleave-go/cleave/saga"

// The commands of the order service's sagas. CreateTicket is refused with
// RESTAURANT_REFUSED when an item is not on the menu; BeginCancelTicket and
// BeginReviseTicket with TICKET_STATE when the kitchen has begun to prepare.
var (
	CreateTicket        = endpoint[CreateTicketCommand]("create-ticket")
	ConfirmCreateTicket = endpoint[TicketCommand]("confirm-create-ticket")
	CancelCreateTicket  = endpoint[TicketCommand]("cancel-create-ticket")

	BeginCancelTicket   = endpoint[TicketCommand]("begin-cancel-ticket")
	ConfirmCancelTicket = endpoint[TicketCommand]("confirm-cancel-ticket")
	UndoCancelTicket    = endpoint[TicketCommand]("undo-cancel-ticket")

	BeginReviseTicket   = endpoint[ReviseTicketCommand]("begin-revise-ticket")
	ConfirmReviseTicket = endpoint[TicketCommand]("confirm-revise-ticket")
	UndoReviseTicket    = endpoint[TicketCommand]("undo-revise-ticket")
)

// The codes with which commands are refused.
const (
	RestaurantRefused = "RESTAURANT_REFUSED"
	TicketState       = "TICKET_STATE"
)

// CreateTicketCommand asks the kitchen to reserve the work of an order.
type CreateTicketCommand struct {
	OrderID      string       `json:"orderId"`
	RestaurantID string       `json:"restaurantId"`
	ConsumerID   string       `json:"consumerId"`
	LineItems    []TicketItem `json:"lineItems"`
	// MenuVersion is the menu that the items were chosen from; an older one
	// does not decide.
	MenuVersion int64 `json:"menuVersion"`
}

// ReviseTicketCommand asks it to reserve other work instead.
type ReviseTicketCommand struct {
	OrderID     string       `json:"orderId"`
	LineItems   []TicketItem `json:"lineItems"`
	MenuVersion int64        `json:"menuVersion"`
}

// TicketCommand names the ticket that a command is about.
type TicketCommand struct {
	OrderID string `json:"orderId"`
}

// TicketItem is one thing to prepare.
type TicketItem struct {
	MenuItemID string `json:"menuItemId"`
	Name       string `json:"name"`
	Quantity   int32  `json:"quantity"`
}

// Done is the reply that says no more than that.
type Done struct{}

func endpoint[Command any](name string) saga.Endpoint[Command, Done] {
	return saga.Endpoint[Command, Done]{Service: "kitchen", Command: name}
}
