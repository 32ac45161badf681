package tickets_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/tickets"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
)

var (
	now     = time.Date(2026, 11, 2, 18, 30, 0, 0, time.UTC)
	readyBy = now.Add(20 * time.Minute)
	items   = []kitchenapi.TicketItem{{MenuItemID: "vindaloo", Name: "Chicken Vindaloo", Quantity: 2}}
)

// steps are the methods, by name, with fixed arguments.
var steps = map[string]func(*tickets.Ticket) ([]kitchenapi.Event, error){
	"confirm create":   (*tickets.Ticket).ConfirmCreate,
	"accept":           func(t *tickets.Ticket) ([]kitchenapi.Event, error) { return t.Accept(readyBy, now) },
	"start preparing":  (*tickets.Ticket).StartPreparing,
	"finish preparing": (*tickets.Ticket).FinishPreparing,
	"pick up":          (*tickets.Ticket).PickUp,
	"begin cancel":     (*tickets.Ticket).BeginCancel,
	"confirm cancel":   (*tickets.Ticket).ConfirmCancel,
	"undo cancel":      (*tickets.Ticket).UndoCancel,
	"begin revise":     func(t *tickets.Ticket) ([]kitchenapi.Event, error) { return t.BeginRevise(items) },
	"confirm revise":   (*tickets.Ticket).ConfirmRevise,
	"undo revise":      (*tickets.Ticket).UndoRevise,
}

func TestTicketLife(t *testing.T) {
	for _, tt := range []struct {
		name   string
		steps  []string
		status tickets.Status
		events int
	}{
		{"a confirmed ticket awaits acceptance", []string{"confirm create"}, tickets.AwaitingAcceptance, 1},
		{"confirming twice tells once", []string{"confirm create", "confirm create"}, tickets.AwaitingAcceptance, 1},
		{"an accepted ticket is accepted", []string{"confirm create", "accept"}, tickets.Accepted, 2},
		{"food is cooked and picked up", []string{"confirm create", "accept", "start preparing", "finish preparing", "pick up"}, tickets.PickedUp, 5},
		{"a ticket is cancelled before it is accepted", []string{"confirm create", "begin cancel", "confirm cancel"}, tickets.Cancelled, 2},
		{"a ticket is cancelled after it is accepted", []string{"confirm create", "accept", "begin cancel", "confirm cancel"}, tickets.Cancelled, 3},
		{"an undone cancellation goes back", []string{"confirm create", "accept", "begin cancel", "undo cancel"}, tickets.Accepted, 2},
		{"undoing without a cancellation does nothing", []string{"confirm create", "accept", "undo cancel"}, tickets.Accepted, 2},
		{"a revision goes back to where it was", []string{"confirm create", "accept", "begin revise", "confirm revise"}, tickets.Accepted, 3},
		{"an undone revision goes back", []string{"confirm create", "begin revise", "undo revise"}, tickets.AwaitingAcceptance, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ticket := tickets.Ticket{OrderID: "o", Status: tickets.CreatePending}
			told := 0
			for _, name := range tt.steps {
				events, err := steps[name](&ticket)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				told += len(events)
			}
			if ticket.Status != tt.status || told != tt.events {
				t.Errorf("got %s and %d events, want %s and %d", ticket.Status, told, tt.status, tt.events)
			}
		})
	}
}

func TestTicketRefuses(t *testing.T) {
	for _, tt := range []struct {
		status tickets.Status
		step   string
	}{
		{tickets.CreatePending, "accept"},
		{tickets.AwaitingAcceptance, "start preparing"},
		{tickets.Accepted, "finish preparing"},
		{tickets.Accepted, "accept"},
		{tickets.Preparing, "begin cancel"},
		{tickets.Preparing, "begin revise"},
		{tickets.CancelPending, "accept"},
		{tickets.Preparing, "pick up"},
		{tickets.Cancelled, "begin cancel"},
	} {
		t.Run(string(tt.status)+" cannot "+tt.step, func(t *testing.T) {
			ticket := tickets.Ticket{OrderID: "o", Status: tt.status}
			_, err := steps[tt.step](&ticket)
			var stateErr *tickets.StateError
			if !errors.As(err, &stateErr) {
				t.Errorf("got %v, want a StateError", err)
			}
			if ticket.Status != tt.status {
				t.Errorf("the ticket became %s", ticket.Status)
			}
		})
	}
}

func TestAcceptNeedsATimeInTheFuture(t *testing.T) {
	ticket := tickets.Ticket{Status: tickets.AwaitingAcceptance}
	_, err := ticket.Accept(now, now)
	var readyByErr *tickets.ReadyByError
	if !errors.As(err, &readyByErr) {
		t.Errorf("got %v, want a ReadyByError", err)
	}
}

func TestConfirmedRevisionReplacesTheItems(t *testing.T) {
	ticket := tickets.Ticket{Status: tickets.Accepted, Items: []kitchenapi.TicketItem{{MenuItemID: "naan"}}}
	for _, name := range []string{"begin revise", "confirm revise"} {
		if _, err := steps[name](&ticket); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(ticket.Items, items) {
		t.Errorf("got %v, want %v", ticket.Items, items)
	}
}
