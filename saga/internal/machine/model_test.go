package machine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cleave-go/cleave/saga/internal/machine"
)

// world is everything around a saga: participants that take commands in
// order, store their answers, refuse, put off, fall silent; a bus that repeats
// messages and delivers replies in any order.
type world struct {
	p       machine.Plan
	rnd     *rand.Rand
	in      machine.Instance
	now     time.Time
	queue   []machine.Effect // commands on their way, in order
	replies []machine.Input
	stored  map[int]machine.Input
	effect  []bool // by step: is its change there?
	log     []string
	err     error
}

func (w *world) feed(x machine.Input) {
	for {
		var effects []machine.Effect
		w.in, effects = w.p.Next(w.in, x, w.now)
		again := false
		for i, e := range effects {
			w.log = append(w.log, word(w.p, e))
			if e.Command != 0 {
				w.queue = append(w.queue, e)
				continue
			}
			if i != len(effects)-1 {
				w.fail("an action in place is not the last effect")
			}
			x, again = w.act(e), true
		}
		if !again {
			return
		}
	}
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// act carries an action out, or not, and answers.
func (w *world) act(e machine.Effect) machine.Input {
	x := machine.Input{Command: e.Command, Code: "X", Kind: machine.Done}
	switch n := w.rnd.IntN(10); {
	case n == 0:
		x.Kind = machine.NotYet
	case n == 1:
		x.Kind = machine.Failed
	case n == 2:
		x.Kind = machine.Refused
	case e.Undo:
		w.effect[e.Step] = false
	default:
		w.effect[e.Step] = true
	}
	if e.Undo && e.Step >= w.p.Pivot && w.in.Failure.Step != w.p.Steps[e.Step].Name {
		w.fail("step %d was undone behind the pivot", e.Step)
	}
	return x
}

// step lets one thing happen.
func (w *world) step() {
	switch n := w.rnd.IntN(10); {
	case n < 4 && len(w.queue) > 0: // the participant takes the oldest command
		e := w.queue[0]
		if w.rnd.IntN(8) > 0 { // else it stays, to be delivered again
			w.queue = w.queue[1:]
		}
		x, repeated := w.stored[e.Command]
		if !repeated {
			x = w.act(e)
			if x.Kind == machine.Done || x.Kind == machine.Refused {
				w.stored[e.Command] = x
			}
		}
		w.replies = append(w.replies, x)
	case n < 8 && len(w.replies) > 0:
		i := w.rnd.IntN(len(w.replies))
		x := w.replies[i]
		if w.rnd.IntN(8) > 0 {
			w.replies = slices.Delete(w.replies, i, i+1)
		}
		w.feed(x)
	case n == 8:
		w.now = w.now.Add(time.Duration(w.rnd.IntN(5000)) * time.Millisecond)
		w.feed(machine.Input{Kind: machine.Tick})
	case n == 9 && w.rnd.IntN(20) == 0:
		w.feed(machine.Input{Kind: machine.Resume})
	case n == 9 && w.rnd.IntN(40) == 0:
		w.feed(machine.Input{Kind: machine.GiveUp, Code: "GIVEN_UP"})
	}
}

func TestEverySagaEndsWithAllOrNothing(t *testing.T) {
	seeds := 20_000
	if testing.Short() {
		seeds = 2_000
	}
	ends := map[machine.State]int{}
	for seed := range seeds {
		p := order()
		w := &world{p: p, rnd: rand.New(rand.NewPCG(uint64(seed), 1)), now: start,
			stored: map[int]machine.Input{}, effect: make([]bool, len(p.Steps))}
		w.feed(machine.Input{Kind: machine.Start})
		for n := 0; !w.in.State.Ended() || len(w.queue) > 0; n++ {
			if n > 100_000 {
				t.Fatalf("seed %d: not ended: %+v\n%v", seed, w.in, w.log)
			}
			w.step()
		}
		ends[w.in.State]++
		for i, there := range w.effect {
			want := w.in.State == machine.Completed
			if !want && p.Steps[i].Undo == machine.NoUndo {
				continue // a check
			}
			if there != want {
				t.Fatalf("seed %d: ended in state %d, step %s there: %v\n%v", seed, w.in.State, p.Steps[i].Name, there, w.log)
			}
		}
		if w.err != nil {
			t.Fatalf("seed %d: %v\n%v", seed, w.err, w.log)
		}
	}
	if ends[machine.Completed] < seeds/20 || ends[machine.RolledBack] < seeds/20 {
		t.Errorf("one-sided: %v", ends)
	}
	t.Logf("%d completed, %d rolled back", ends[machine.Completed], ends[machine.RolledBack])
}
