package contract_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/event"
)

type (
	placed struct {
		Order string   `json:"order"`
		Total int64    `json:"total"`
		Items []string `json:"items"`
		Note  *string  `json:"note"`
	}
	ticket struct {
		Order    string `json:"order"`
		Quantity int    `json:"quantity"`
	}
	created struct {
		Ticket string `json:"ticket"`
	}
)

var codec = event.NewCodec[any](event.Of[placed]("order.placed", 2))

// recordMessages is a consumer's test of an event and a command.
func recordMessages(t *fake, dir string) {
	c := contract.New(t, "reader", "shop", &contract.Options{Dir: dir})
	note := "no onions"
	e := placed{Order: "99", Total: 1200, Items: []string{"soup"}, Note: &note}
	var handled event.Record
	contract.Event(c, codec, event.Stream{Category: "order", ID: "99"}, &e, contract.Integer(&e.Total), contract.Nullable(&e.Note)).
		Given("an order was placed").
		HandledBy(func(_ context.Context, r event.Record) error { handled = r; return nil })
	if back, err := codec.Decode(handled); err != nil || back.Data.(placed).Total != 1200 {
		t.Errorf("the handler got %v, %v", back, err)
	}
	req := ticket{Order: "99", Quantity: 2}
	contract.Command(c, "create-ticket", &req).Given("the kitchen is open").Replies(&created{Ticket: "T1"})
	closed := ticket{Order: "100", Quantity: 1}
	contract.Command(c, "create-ticket", &closed).Given("the kitchen is closed").Refuses("CLOSED")

	if rep := c.Send("create-ticket", json.RawMessage(`{"quantity":2,"order":"99"}`)); string(rep.Data) != `{"ticket":"T1"}` {
		t.Errorf("replied %s, %v", rep.Data, rep.Err)
	}
	rep := c.Send("create-ticket", json.RawMessage(`{"quantity":1,"order":"100"}`))
	if refusal, ok := errors.AsType[*contract.Refusal](rep.Err); !ok || refusal.Code != "CLOSED" {
		t.Errorf("refused: %v", rep.Err)
	}
}

// shop is the provider of the messages.
func shop(change func(e *placed, r *event.Record), reply func(ticket) (any, error)) []contract.Option {
	closed := false
	return []contract.Option{
		contract.Dir("testdata"),
		contract.State("an order was placed", func(context.Context, struct{}) error { return nil }),
		contract.State("the kitchen is open", func(context.Context, struct{}) error { closed = false; return nil }),
		contract.State("the kitchen is closed", func(context.Context, struct{}) error { closed = true; return nil }),
		contract.Publishes("order.placed", func(context.Context) (event.Record, error) {
			e := placed{Order: "1", Total: 5, Items: []string{"tea", "cake"}}
			r := event.Record{ID: event.NewID(), Type: "order.placed", Schema: 2, Stream: event.Stream{Category: "order", ID: "1"}}
			change(&e, &r)
			var err error
			r.Data, err = json.Marshal(e)
			return r, err
		}),
		contract.Handles("create-ticket", func(_ context.Context, req ticket) (any, error) {
			if closed {
				return nil, &contract.Refusal{Code: "CLOSED", Message: "come back tomorrow"}
			}
			return reply(req)
		}),
	}
}

func TestEventsAndCommandsAreRecordedAndVerified(t *testing.T) {
	dir := t.TempDir()
	if *update {
		passes(t, run("TestMessages", func(t *fake) { recordMessages(t, "testdata") }))
	}
	passes(t, run("TestMessages", func(t *fake) { recordMessages(t, dir) }))
	if got, want := read(t, dir, "reader-shop.json"), readGolden(t, "reader-shop.json"); got != want {
		t.Errorf("wrote\n%s\nwant\n%s", got, want)
	}
	options := shop(func(*placed, *event.Record) {}, func(ticket) (any, error) { return created{"T7"}, nil })
	verified := run("TestPromises", func(t *fake) { contract.Verify(t, "shop", options...) })
	passes(t, verified)
	if len(verified.Subtests()) != 3 {
		t.Errorf("verified %v", verified.Subtests())
	}
}

func TestABrokenMessageFailsWithEveryDifferenceByPath(t *testing.T) {
	options := shop(func(e *placed, r *event.Record) {
		e.Items, r.Schema = []string{}, 3
	}, func(ticket) (any, error) { return map[string]any{"ticket": 7}, nil })
	verified := run("TestPromises", func(t *fake) { contract.Verify(t, "shop", options...) })
	failsWith(t, verified, `
path                 expected                            actual                              rule
metadata dataschema  'urn:cleave:schema:order.placed:2'  'urn:cleave:schema:order.placed:3'  equality
$.items              ["soup"]                            []                                  type min 1
`, `
path      expected  actual  rule
$.ticket  'T1'      7       type
`)
}

func TestACommandThatIsRefusedOrFailsIsToldApart(t *testing.T) {
	refuses := shop(func(*placed, *event.Record) {}, func(ticket) (any, error) { return nil, &contract.Refusal{Code: "FULL"} })
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "shop", refuses...) }),
		"metadata outcome  'done'           'refused'  equality", "$                 {\"ticket\":\"T1\"}  empty")
	fails := shop(func(*placed, *event.Record) {}, func(ticket) (any, error) { return nil, errors.New("disk full") })
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "shop", fails...) }), `the command "create-ticket": disk full`)
}

func TestAMessageThatNobodyProvidesFailsWithTheLinesToAdd(t *testing.T) {
	options := shop(func(*placed, *event.Record) {}, nil)[:4]
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "shop", options...) }),
		`contract.Publishes("order.placed", func(`, `contract.Handles("create-ticket", func(`)
}

func TestACommandThatIsSentOtherwiseFailsTheConsumer(t *testing.T) {
	failsWith(t, run("TestMessages", func(f *fake) {
		c := contract.New(f, "reader", "shop", &contract.Options{Dir: t.TempDir()})
		contract.Command(c, "create-ticket", &ticket{Order: "99", Quantity: 2}).Replies(&created{Ticket: "T1"})
		c.Send("create-ticket", json.RawMessage(`{"order":"99","quantity":"2"}`))
		c.Send("cancel-ticket", json.RawMessage(`{}`))
	}), "$.quantity  2         '2'     equality", "no such command is expected")
	failsWith(t, run("TestMessages", func(f *fake) {
		c := contract.New(f, "reader", "shop", &contract.Options{Dir: t.TempDir()})
		contract.Event(c, codec, event.Stream{Category: "order", ID: "99"}, &placed{Order: "1"}).
			HandledBy(func(context.Context, event.Record) error { return errors.New("no such column") })
	}), "the consumer does not handle it: no such column")
}
