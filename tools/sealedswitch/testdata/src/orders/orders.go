package orders

import "github.com/cleave-go/cleave/event"

type Event interface{ orderEvent() }

type (
	Placed   struct{}
	Approved struct{}
	Moved    struct{}
	hidden   struct{}
	Other    struct{}
)

func (Placed) orderEvent()   {}
func (Approved) orderEvent() {}
func (*Moved) orderEvent()   {}
func (hidden) orderEvent()   {}

type Final interface {
	Event
	final()
}

func (Approved) final() {}
func (hidden) final()   {}

var whole = event.NewCodec[Event](event.Of[Placed]("placed", 1), event.Of[Approved]("approved", 1), event.Of[*Moved]("moved", 1), event.Of[hidden]("hidden", 1))

var lacking = event.NewCodec[Event]( // want `the codec of Event forgets Approved, hidden`
	event.Of[Placed]("placed", 1),
	event.Of[*Moved]("moved", 1),
)

var open = event.NewCodec[any](event.Of[Other]("other", 1))

var kinds []event.Kind

var fromElsewhere = event.NewCodec[Event](kinds...)

func evolve(e Event) {
	switch e := e.(type) { // want `the switch over Event forgets Approved, hidden`
	case Placed:
		_ = e
	case *Moved:
	}
	switch e.(type) {
	case Placed, *Moved, Approved, hidden:
	}
	switch e.(type) {
	case Placed, *Moved, Final:
	}
	switch e.(type) {
	case Placed:
	default:
	}
	switch (e).(type) { // want `the switch over Event forgets \*Moved`
	case nil:
	case Placed, Final:
	}
}

func anything(v any) {
	switch v.(type) {
	case Placed:
	}
}

type wide interface {
	orderEvent()
	more()
}

func notSealed(v wide, s interface{ String() string }) {
	switch v.(type) {
	}
	switch s.(type) {
	}
}
