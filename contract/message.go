package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/cleave-go/cleave/contract/internal/match"
	"github.com/cleave-go/cleave/contract/internal/pact"
	"github.com/cleave-go/cleave/event"
)

// EventExpectation is an expected event, complete with HandledBy.
type EventExpectation struct {
	given
	record event.Record
}

// Event expects a domain event of a stream like the example: data by type, but
// where matchers say otherwise; type, schema and category exactly. codec is
// what the consumer reads it with.
func Event[E, D any](c *Contract, codec *event.Codec[E], stream event.Stream, data *D, matchers ...Matcher) *EventExpectation {
	c.t.Helper()
	x := &EventExpectation{given: given{c, &interaction{}}}
	x.in.Type, x.in.Description = pact.Event, fmt.Sprintf("%T", data)
	x.fatal("event", checkExample(data))
	x.fatal("stream", stream.Check())
	e, ok := any(*data).(E)
	if !ok {
		if e, ok = any(data).(E); !ok {
			c.t.Fatalf("contract: a %T is no event of the codec", *data)
		}
	}
	r, err := codec.Encode(e)
	x.fatal("event", err)
	body, rules, err := example(data, matchers, true)
	x.fatal("event", err)
	// The record that the consumer gets is the same in every run.
	r.ID, r.Stream, r.Version, r.Position = event.DeriveID("contract/"+r.Type, 1), stream, 1, 1
	r.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	x.record, x.in.Description = r, r.Type
	rules["metadata"] = match.Category{{Path: "subject", List: match.List{Rules: []match.Rule{{Name: "type"}}}}}
	x.in.Message = &pact.Message{Body: body, Metadata: eventMetadata(r), Rules: rules}
	return x
}

// eventMetadata is the attributes of an event that consumers rely on, named as
// in CloudEvents.
func eventMetadata(r event.Record) map[string]any {
	return map[string]any{
		"contentType":    jsonType,
		"type":           r.Type,
		"dataschema":     "urn:cleave:schema:" + r.Type + ":" + strconv.Itoa(r.Schema),
		"subject":        r.Stream.String(),
		"streamcategory": r.Stream.Category,
	}
}

// Given names a state that the provider sets up before, with its parameters. It
// may be called again.
func (x *EventExpectation) Given(state string, params ...any) *EventExpectation {
	x.c.t.Helper()
	x.state(state, params)
	return x
}

// Named describes the interaction. Default: the event's type.
func (x *EventExpectation) Named(description string) *EventExpectation {
	x.in.Description = description
	return x
}

// HandledBy calls the consumer's real handler with the event now. Its error
// fails the test.
func (x *EventExpectation) HandledBy(handle func(ctx context.Context, r event.Record) error) {
	x.c.t.Helper()
	x.c.add(x.in)
	if err := handle(x.c.t.Context(), x.record); err != nil {
		x.c.t.Errorf("contract: %s: the consumer does not handle it: %v", x.in.Description, err)
		return
	}
	x.c.use(x.in)
}

// CommandExpectation is an expected command, complete with Replies or Refuses.
type CommandExpectation struct {
	given
	command string
	reply   Reply
}

// Command expects a command with exactly the request that req points to, but
// where matchers say otherwise. Send checks what is really sent.
func Command(c *Contract, command string, req any, matchers ...Matcher) *CommandExpectation {
	c.t.Helper()
	x := &CommandExpectation{given: given{c, &interaction{}}, command: command}
	x.in.Type, x.in.Description = pact.Command, command
	x.fatal("command", checkExample(req))
	body, rules, err := example(req, matchers, false)
	x.fatal("command", err)
	x.in.Message = &pact.Message{Body: body, Rules: rules, Metadata: commandMetadata(command)}
	return x
}

func commandMetadata(command string) map[string]any {
	return map[string]any{"contentType": jsonType, "command": command}
}

// Given names a state that the provider sets up before, with its parameters. It
// may be called again.
func (x *CommandExpectation) Given(state string, params ...any) *CommandExpectation {
	x.c.t.Helper()
	x.state(state, params)
	return x
}

// Named describes the interaction. Default: the command's name.
func (x *CommandExpectation) Named(description string) *CommandExpectation {
	x.in.Description = description
	return x
}

// Replies says that the command is carried out, and what the reply that rep
// points to is like: by type, but where matchers say otherwise.
func (x *CommandExpectation) Replies(rep any, matchers ...Matcher) {
	x.c.t.Helper()
	x.fatal("reply", checkExample(rep))
	body, rules, err := example(rep, matchers, true)
	x.fatal("reply", err)
	x.reply.Data = body.Data()
	x.finish(pact.Message{Body: body, Rules: rules, Metadata: map[string]any{"contentType": jsonType, "outcome": outcomeDone}})
}

// Refuses says that the command is refused with a code.
func (x *CommandExpectation) Refuses(code string) {
	x.c.t.Helper()
	x.reply.Err = &Refusal{Code: code}
	x.finish(pact.Message{Metadata: map[string]any{"outcome": outcomeRefused, "code": code}})
}

// The outcomes of a command, in the metadata of its reply.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused"
)

func (x *CommandExpectation) finish(reply pact.Message) {
	x.in.Replies = []pact.Message{reply}
	x.c.add(x.in)
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	x.c.commands = append(x.c.commands, x)
}

// Reply is what comes back for a command.
type Reply struct {
	Data json.RawMessage
	Err  error // a *Refusal when the command is refused
}

// Refusal is a command's answer for good: no. A handler given to Handles
// returns one, and Send does.
type Refusal struct{ Code, Message string }

func (r *Refusal) Error() string { return "refused: " + r.Code + " " + r.Message }

// Send takes a command as the consumer sends it and returns the expected reply.
// A command that nothing expects fails the test.
func (c *Contract) Send(command string, request json.RawMessage) Reply {
	c.t.Helper()
	c.mu.Lock()
	expected := c.commands
	c.mu.Unlock()
	got := &pact.Message{Body: pact.NewBody(jsonType, request), Metadata: commandMetadata(command)}
	differences := "no such command is expected"
	for _, x := range expected {
		found := pact.CompareMessage(x.in.Message, got, false)
		if len(found) == 0 {
			c.use(x.in)
			return x.reply
		}
		if x.command == command {
			differences = match.Table(found)
		}
	}
	c.t.Errorf("contract: the test sends the command %s to %s otherwise than it says:\n%s", command, c.provider, differences)
	return Reply{Err: fmt.Errorf("contract: unexpected command %s", command)}
}
