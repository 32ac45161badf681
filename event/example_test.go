package event_test

import (
	"fmt"

	"github.com/cleave-go/cleave/event"
)

// Event is sealed: only this package can add to it.
type Event interface{ ticketEvent() }

type Accepted struct{ ReadyBy string }

func (Accepted) ticketEvent() {}

// acceptedV1 is what was recorded before ReadyBy had its name.
type acceptedV1 struct{ Ready string }

var Codec = event.NewCodec[Event](
	event.Of[Accepted]("ticket.accepted", 2,
		event.Up(1, func(o acceptedV1) Accepted { return Accepted{ReadyBy: o.Ready} })),
)

func Example() {
	rec, err := Codec.Encode(Accepted{ReadyBy: "12:30"})
	if err != nil {
		panic(err)
	}
	fmt.Println(rec.Type, rec.Schema, string(rec.Data))

	old := event.Record{Type: "ticket.accepted", Schema: 1, Data: []byte(`{"Ready":"12:15"}`)}
	env, err := Codec.Decode(old)
	if err != nil {
		panic(err)
	}
	switch e := env.Data.(type) {
	case Accepted:
		fmt.Println("ready by", e.ReadyBy)
	}
	// Output:
	// ticket.accepted 2 {"ReadyBy":"12:30"}
	// ready by 12:15
}

func ExampleToken() {
	// A response tells what it caused; a later request asks to see it.
	header := event.Token{}.With("order", "3f2a", 41).With("order", "3f2a", 42).String()

	token, err := event.ParseToken(header)
	if err != nil {
		panic(err)
	}
	for source, mark := range token.All() {
		fmt.Println(source, mark.Position)
	}
	// Output: order 42
}
