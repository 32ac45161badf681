package machine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/saga/internal/machine"
)

// order is the plan of the tables: create and approve happen in place, the
// rest are commands; charge is the pivot and has an undo for its timeout.
func order() machine.Plan {
	return machine.Plan{
		Pivot: 3,
		Steps: []machine.Step{
			{Name: "create", Undo: machine.LocalUndo},
			{Name: "validate", Call: true, Timeout: 10 * time.Second},
			{Name: "ticket", Call: true, Undo: machine.CallUndo, Timeout: 10 * time.Second},
			{Name: "charge", Call: true, Undo: machine.CallUndo, Timeout: 10 * time.Second},
			{Name: "confirm", Call: true},
			{Name: "approve"},
		},
		Policy: machine.Policy{
			Backoff: 100 * time.Millisecond, MaxBackoff: time.Second,
			Resend: 4 * time.Second, MaxResend: 8 * time.Second, StuckAfter: 3,
		},
	}
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// play feeds a script to a new instance and returns what was asked for, one
// word an effect: "ticket#2", "-ticket#4" for an undo, "approve" in place.
//
//	done, refused, notyet, failed   the action in hand is answered
//	X=2                             command 2 is answered X, whatever is in hand
//	+500ms                          time passes, then a tick
//	resume
func play(t *testing.T, p machine.Plan, script string) (machine.Instance, string) {
	t.Helper()
	var got []string
	var in machine.Instance
	now := start
	next := func(x machine.Input) {
		var effects []machine.Effect
		in, effects = p.Next(in, x, now)
		for _, e := range effects {
			got = append(got, word(p, e))
		}
	}
	next(machine.Input{Kind: machine.Start})
	for _, w := range strings.Fields(script) {
		switch {
		case w == "resume":
			next(machine.Input{Kind: machine.Resume})
		case w[0] == '+':
			d, err := time.ParseDuration(w[1:])
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
			next(machine.Input{Kind: machine.Tick})
		default:
			next(answer(t, w, in.Awaiting))
		}
	}
	return in, strings.Join(got, " ")
}

func word(p machine.Plan, e machine.Effect) string {
	w := p.Steps[e.Step].Name
	if e.Undo {
		w = "-" + w
	}
	if e.Command != 0 {
		w += fmt.Sprintf("#%d", e.Command)
	}
	return w
}

func answer(t *testing.T, w string, command int) machine.Input {
	t.Helper()
	w, n, named := strings.Cut(w, "=")
	if named {
		fmt.Sscan(n, &command)
	}
	kinds := map[string]machine.Kind{"done": machine.Done, "refused": machine.Refused, "notyet": machine.NotYet, "failed": machine.Failed}
	k, ok := kinds[w]
	if !ok {
		t.Fatalf("no such word: %s", w)
	}
	return machine.Input{Kind: k, Command: command, Code: strings.ToUpper(w), Message: "said so"}
}

func TestWhatFollows(t *testing.T) {
	const happy = "create validate#1 ticket#2 charge#3 "
	tests := []struct {
		name, script, want string
		state              machine.State
		failure            string // step/code
	}{
		{"all steps done in order completes the saga", "done done done done done done",
			happy + "confirm#4 approve", machine.Completed, ""},
		{"a refusal undoes what was done in reverse and not the refused step itself", "done done done refused done done",
			happy + "-ticket#4 -create", machine.RolledBack, "charge/REFUSED"},
		{"a refused check undoes only what came before it", "done refused done",
			"create validate#1 -create", machine.RolledBack, "validate/REFUSED"},
		{"a step without an undo is passed over on the way back", "done done refused done",
			"create validate#1 ticket#2 -create", machine.RolledBack, "ticket/REFUSED"},
		{"a refusal of the first step leaves nothing to undo", "refused",
			"create", machine.RolledBack, "create/REFUSED"},

		{"the same reply twice counts once", "done done done=1 done=1",
			"create validate#1 ticket#2", machine.Running, ""},
		{"a reply out of order is ignored", "done done=2 done=3 refused=9",
			"create validate#1", machine.Running, ""},
		{"a contradicting second reply is ignored", "done done refused=1 notyet=1",
			"create validate#1 ticket#2", machine.Running, ""},
		{"nothing follows the end", "done refused done done done=1 +1h resume refused=2",
			"create validate#1 -create", machine.RolledBack, "validate/REFUSED"},

		{"not yet is asked again with the same number after the back-off", "done notyet +99ms +1ms done",
			"create validate#1 validate#1 ticket#2", machine.Running, ""},
		{"the back-off doubles", "done notyet +100ms notyet +100ms +100ms notyet +300ms +100ms",
			"create validate#1 validate#1 validate#1 validate#1", machine.Running, ""},
		{"a reply to an earlier sending of the command counts while it waits to be sent again", "done notyet done=1",
			"create validate#1 ticket#2", machine.Running, ""},
		{"silence sends the command again with the same number", "done +4s",
			"create validate#1 validate#1", machine.Running, ""},
		{"an early tick does nothing", "done +1s +1s",
			"create validate#1", machine.Running, ""},
		{"a local step that fails is tried again after the back-off", "done done done done done failed +99ms +1ms done",
			happy + "confirm#4 approve approve", machine.Completed, ""},

		{"silence until the timeout sends the step's own undo at once and undoes the rest beside it", "done done done +10s",
			happy + "-charge#4 -ticket#5", machine.Compensating, "charge/TIMEOUT"},
		{"the saga is rolled back when the late undo is answered before the others", "done done done +10s done=4 done done",
			happy + "-charge#4 -ticket#5 -create", machine.RolledBack, "charge/TIMEOUT"},
		{"the saga waits for the late undo when the others are done", "done done done +10s done done",
			happy + "-charge#4 -ticket#5 -create", machine.Compensating, "charge/TIMEOUT"},
		{"the saga is rolled back when the late undo is answered last", "done done done +10s done done done=4",
			happy + "-charge#4 -ticket#5 -create", machine.RolledBack, "charge/TIMEOUT"},
		{"a late success behind the timeout is ignored", "done done done +10s done=3 done done done=3",
			happy + "-charge#4 -ticket#5 -create", machine.Compensating, "charge/TIMEOUT"},
		{"a late undo that nobody answers is sent again at the end", "done done done +10s done done +4s done=4",
			happy + "-charge#4 -ticket#5 -create -charge#4", machine.RolledBack, "charge/TIMEOUT"},
		{"a late undo that was put off is sent again at the end", "done done done +10s notyet=4 done done done",
			happy + "-charge#4 -ticket#5 -create -charge#4", machine.RolledBack, "charge/TIMEOUT"},
		{"a late undo that was refused is sent anew at the end", "done done done +10s refused=4 done done done",
			happy + "-charge#4 -ticket#5 -create -charge#6", machine.RolledBack, "charge/TIMEOUT"},
		{"a step that only ever said not yet is undone too when it times out", "done done notyet +10s done=3 done",
			"create validate#1 ticket#2 -ticket#3 -create", machine.RolledBack, "ticket/TIMEOUT"},
		{"a check that times out needs no undo", "done +10s done",
			"create validate#1 -create", machine.RolledBack, "validate/TIMEOUT"},
		{"each step has its own time", "done +4s done +9s done +9s",
			"create validate#1 validate#1 ticket#2 ticket#2 charge#3 charge#3", machine.Running, ""},

		{"behind the pivot a refusal is asked anew, never undone", "done done done done refused +100ms done done",
			happy + "confirm#4 confirm#5 approve", machine.Completed, ""},
		{"behind the pivot silence never undoes", "done done done done +1h +1h",
			happy + "confirm#4 confirm#4 confirm#4", machine.Running, ""},
		{"an undo that is refused is asked anew", "done done done refused refused +100ms done done",
			happy + "-ticket#4 -ticket#5 -create", machine.RolledBack, "charge/REFUSED"},
		{"an undo in place that fails is tried again", "done refused failed +100ms done",
			"create validate#1 -create -create", machine.RolledBack, "validate/REFUSED"},
		{"an undo that nobody answers is sent again", "done done done refused +4s +8s done done",
			happy + "-ticket#4 -ticket#4 -ticket#4 -create", machine.RolledBack, "charge/REFUSED"},
		{"a person's resume tries again at once", "done notyet resume done",
			"create validate#1 validate#1 ticket#2", machine.Running, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, got := play(t, order(), tt.script)
			if got != tt.want {
				t.Errorf("asked for\n%s, want\n%s", got, tt.want)
			}
			if in.State != tt.state {
				t.Errorf("state %d, want %d", in.State, tt.state)
			}
			if f := in.Failure; tt.failure != "" && f.Step+"/"+f.Code != tt.failure {
				t.Errorf("failure %s/%s, want %s", f.Step, f.Code, tt.failure)
			}
			if in.State.Ended() && !in.Due.IsZero() {
				t.Errorf("an ended saga is due at %v", in.Due)
			}
			if !in.State.Ended() && in.Due.IsZero() && in.Awaiting != 0 {
				t.Error("nothing would wake this saga")
			}
		})
	}
}

func TestStuckIsListedTriedOnAndResumable(t *testing.T) {
	fail := strings.Repeat("failed +1s ", 20)
	in, _ := play(t, order(), "done refused "+fail)
	if !in.Stuck || in.State != machine.Compensating || in.Attempts != 20 {
		t.Fatalf("after 20 failures: stuck %v, state %d, attempts %d", in.Stuck, in.State, in.Attempts)
	}
	if in.Error != "FAILED: said so" {
		t.Errorf("error %q", in.Error)
	}
	if in, _ = play(t, order(), "done refused "+fail+"done"); in.State != machine.RolledBack || in.Stuck {
		t.Errorf("the 21st attempt worked: state %d, stuck %v", in.State, in.Stuck)
	}
	if in, _ = play(t, order(), "done refused "+fail+"resume"); in.Stuck || in.Attempts != 0 {
		t.Errorf("resumed: stuck %v, attempts %d", in.Stuck, in.Attempts)
	}
	if in, _ = play(t, order(), "done refused failed +1s failed +1s"); in.Stuck {
		t.Error("stuck before its third failure")
	}
}

func TestPausesStopAtTheDeadline(t *testing.T) {
	p := order()
	p.Policy.MaxBackoff = time.Hour
	in, _ := play(t, p, "done"+strings.Repeat(" notyet", 20))
	if want := start.Add(10 * time.Second); !in.Due.Equal(want) {
		t.Errorf("due %v, want the deadline %v", in.Due, want)
	}
}
