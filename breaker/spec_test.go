package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

var errIgnored = errors.New("not found")

// newSteady: 20 s window, judged from 5 calls on, opens at half failed or half slower than 4 s,
// 4 probes within 1 s, open 5 s and half as much again each time, errIgnored ignored.
func newSteady(t *testing.T, change func(*breaker.Options)) *breaker.Breaker {
	t.Helper()
	return newTrap(t, func(o *breaker.Options) {
		*o = breaker.Options{
			Window: breaker.Time(20 * time.Second), MinCalls: 5, FailureRate: .5,
			SlowCall: 4 * time.Second, SlowRate: .5, Probes: 4, ProbeTimeout: time.Second,
			OpenFor: func(n int) time.Duration {
				return time.Duration(5 * math.Pow(1.5, float64(n-1)) * float64(time.Second))
			},
			Classify: func(ctx context.Context, err error) breaker.Outcome {
				if err == errIgnored {
					return breaker.Ignored
				}
				return breaker.DefaultClassify(ctx, err)
			},
		}
		if change != nil {
			change(o)
		}
	})
}

var modes = []breaker.Mode{breaker.Auto, breaker.ForcedOpen, breaker.Disabled, breaker.MetricsOnly}

// play runs a script, one word a step:
//
//	ok, fail, ignore        a call that is admitted and ends so at once
//	slow, slowfail, limit   one that takes 5 s, or 4 s, just not too long
//	begin, endok, endfail   one that begins; the end of the one that began first
//	refused                 a call that is not admitted
//	closed, open, half-open the state is so
//	60/20                   the failure and slow rates are so many percent, "-/-" if not judged yet
//	late=1, rejected=2      so many results were late, calls refused
//	trip=1h, mode=disabled  Trip, SetMode
//	3s                      time passes
func play(t *testing.T, b *breaker.Breaker, script string) {
	t.Helper()
	var begun []breaker.Permit
	for i, word := range strings.Fields(script) {
		if problem := step(t.Context(), b, word, &begun); problem != "" {
			t.Fatalf("step %d, %s: %s; %+v", i, word, problem, b.Stats())
		}
	}
}

func step(ctx context.Context, b *breaker.Breaker, word string, begun *[]breaker.Permit) (problem string) {
	verb, arg, _ := strings.Cut(word, "=")
	end := func(err error) {
		(*begun)[0].Done(ctx, err)
		*begun = (*begun)[1:]
	}
	switch verb {
	case "closed", "open", "half-open":
		return differ(b.State().String(), word)
	case "late":
		return differ(fmt.Sprint(b.Stats().Late), arg)
	case "rejected":
		return differ(fmt.Sprint(b.Stats().Rejected), arg)
	case "mode":
		b.SetMode(modes[slices.IndexFunc(modes, func(m breaker.Mode) bool { return m.String() == arg })])
	case "trip":
		d, err := time.ParseDuration(arg)
		b.Trip(d)
		if err != nil {
			return err.Error()
		}
	case "refused":
		if err := call(b, nil); !errors.Is(err, breaker.ErrOpen) {
			return "it was not refused"
		}
	case "endok":
		end(nil)
	case "endfail":
		end(errDown)
	case "begin", "ok", "fail", "ignore", "slow", "slowfail", "limit":
		p, err := b.Allow()
		if err != nil {
			return err.Error()
		}
		if *begun = append(*begun, p); verb == "begin" {
			return ""
		}
		time.Sleep(map[string]time.Duration{"slow": 5 * time.Second, "slowfail": 5 * time.Second, "limit": 4 * time.Second}[verb])
		last := &(*begun)[len(*begun)-1]
		last.Done(ctx, map[string]error{"fail": errDown, "slowfail": errDown, "ignore": errIgnored}[verb])
		*begun = (*begun)[:len(*begun)-1]
	default:
		if strings.Contains(word, "/") {
			s := b.Stats()
			return differ(percent(s.FailureRate)+"/"+percent(s.SlowRate), word)
		}
		d, err := time.ParseDuration(word)
		if err != nil {
			return err.Error()
		}
		time.Sleep(d)
	}
	return ""
}

func differ(got, want string) string {
	if got == want {
		return ""
	}
	return "got " + got
}

func percent(rate float64) string {
	if rate < 0 {
		return "-"
	}
	return fmt.Sprint(math.Round(rate * 100))
}

func times(n int, word string) string { return strings.Repeat(word+" ", n) }

// five opens a steady breaker.
const five = "fail fail fail fail fail open "

type specCase struct {
	name, script string
	change       func(*breaker.Options)
}

// What a breaker does, group by group.
var spec = []struct {
	group string
	cases []specCase
}{
	{"rates are judged after every result once there are enough", []specCase{
		{"nothing is judged before MinCalls, and a success may open", "fail fail fail ok -/- closed ok open", nil},
		{"a rate just below its threshold keeps it closed", "ok ok ok fail fail 40/0 closed fail open", nil},
		{"a failure rate of 1 needs every call to fail", "ok fail fail fail fail fail closed 20s " + five,
			func(o *breaker.Options) { o.FailureRate = 1 }},
	}},
	{"a call is slow if it takes longer than SlowCall, failed or not", []specCase{
		{"slow calls open it", "slow slow ok ok -/- closed slow open", nil},
		{"a call that takes exactly SlowCall is not slow", times(4, "limit") + "ok 0/0 closed", nil},
		{"a slow failure counts in both rates", "slowfail slowfail ok ok ok 40/40 closed", nil},
		{"without SlowCall nothing is slow", times(10, "slow") + "closed",
			func(o *breaker.Options) { o.SlowCall = 0; o.Window = breaker.Count(20) }},
	}},
	{"open it refuses, and only a call after its time leaves it", []specCase{
		{"open until the time is over", five + "3s refused open 2s ok half-open rejected=1", nil},
		{"to the nanosecond", five + "4999999999ns refused 1ns ok half-open", nil},
		{"it stays open until somebody calls", five + "1h open ok half-open", nil},
		{"half-open its window is empty", five + "5s begin half-open -/-", nil},
	}},
	{"half-open, Probes calls decide", []specCase{
		{"a fifth call beside four probes is refused and counted", five + "5s begin begin begin begin refused half-open rejected=1", nil},
		{"three of four probes failing reopen it", five + "5s fail fail fail half-open ok open refused", nil},
		{"one of four probes failing closes it with a fresh window",
			five + "5s ok fail ok half-open ok closed -/- fail fail fail fail closed fail open", nil},
		{"slow probes reopen it", five + "5s slow slow ok ok open", func(o *breaker.Options) { o.ProbeTimeout = time.Minute }},
		{"few probes suffice when MinCalls is less", "fail fail open 5s ok ok closed", func(o *breaker.Options) { o.MinCalls = 2 }},
		{"slow traffic does not reopen it", five + "5s ok 1h ok 1h ok 1h half-open ok closed", nil},
	}},
	{"the classifier has the last word", []specCase{
		{"ignored errors are not counted", times(50, "ignore") + "-/- closed", nil},
		{"ignored probes do not decide and free their place", five + "5s ignore ignore ignore ignore half-open ok ok ok ok closed", nil},
		{"an error may be a success", times(10, "fail") + "0/0 closed",
			func(o *breaker.Options) {
				o.Classify = func(context.Context, error) breaker.Outcome { return breaker.Success }
			}},
		{"a result without an error may be a failure", times(5, "ok") + "open",
			func(o *breaker.Options) {
				o.Classify = func(context.Context, error) breaker.Outcome { return breaker.Failure }
			}},
	}},
	{"each opening in a row is longer", []specCase{
		{"half as much again", five + "5s fail fail fail fail open 6s refused open 1500ms ok half-open", nil},
		{"from the beginning once it has closed",
			five + "5s fail fail fail fail 7500ms ok ok ok ok closed " + five + "5s ok half-open", nil},
	}},
	{"it can be tripped for a given time", []specCase{
		{"for hours", "trip=2h open 1h59m59s refused 1s ok half-open", nil},
		{"a later trip does not shorten it", "trip=2h trip=1s open 1h59m59s refused 1s ok", nil},
		{"a later trip may make it longer", "trip=1s trip=2h 1h59m59s refused 1s ok", nil},
		{"a moment at least", "trip=-1s open 1ms ok half-open", nil},
		{"not while somebody else decides", "mode=disabled trip=1h closed ok", nil},
	}},
	{"its operator may decide", []specCase{
		{"disabled passes everything and counts nothing", "mode=disabled " + times(20, "fail") + "closed -/- 0s late=0", nil},
		{"forced open refuses for ever", "mode=forced-open refused 1000h refused open rejected=2", nil},
		{"metrics only counts and passes everything", "mode=metrics-only " + times(20, "fail") + "closed 100/0", nil},
		{"back in auto its window is empty", "mode=metrics-only " + times(20, "fail") + "mode=auto -/- " + five, nil},
		{"calls begun in another mode are late", "begin mode=metrics-only endfail mode=auto late=1", nil},
	}},
	{"half-open it does not wait for ever", []specCase{
		{"hanging probes fail after ProbeTimeout", five + "5s begin begin begin begin 999ms half-open 1ms open", nil},
		{"a hanging probe is one failure among the probes", five + "5s begin ok ok ok half-open 1s closed", nil},
		{"a hanging probe is slow, too", five + "5s begin begin ok ok 5s open",
			func(o *breaker.Options) { o.ProbeTimeout = 5 * time.Second; o.FailureRate = 1 }},
		{"it reopened when the time was over, not when somebody looked",
			five + "5s begin begin begin begin 8500ms begin half-open", nil},
	}},
	{"a window slides", []specCase{
		{"a time window forgets", "fail fail fail fail 20s ok ok ok ok ok 0/0 closed", nil},
		{"a time window does not forget too early", "fail fail fail fail 17s ok open", nil},
		{"a time window forgets step by step", "ok ok ok ok 10s fail fail fail closed 10s fail ok open", nil},
		{"a success may open it because older ones were forgotten", "ok ok ok ok ok 10s fail fail fail fail 44/0 closed 10s ok open", nil},
		{"a count window forgets", "fail fail ok ok ok ok fail fail closed ok fail open",
			func(o *breaker.Options) { o.Window = breaker.Count(5); o.FailureRate = .6 }},
		{"a count window forgets more successes than it holds", "fail fail " + times(50, "ok") + "0/0 fail fail 40/0 closed fail open",
			func(o *breaker.Options) { o.Window = breaker.Count(5); o.FailureRate = .6 }},
		{"a count window smaller than MinCalls is judged when full", "fail fail open",
			func(o *breaker.Options) { o.Window = breaker.Count(2) }},
	}},
	{"results of an earlier period have no say", []specCase{
		{"while open", "begin begin " + five + "endok endfail open late=2 5s ok half-open", nil},
		{"while half-open", times(4, "begin") + five + "5s begin " + times(4, "endfail") + "half-open late=4", nil},
		{"once closed again", times(5, "begin") + five + "5s ok ok ok ok closed " + times(5, "endfail") + "-/- closed late=5", nil},
	}},
}

func TestSpecification(t *testing.T) {
	for _, g := range spec {
		t.Run(g.group, func(t *testing.T) {
			for _, tt := range g.cases {
				t.Run(tt.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { play(t, newSteady(t, tt.change), tt.script) })
				})
			}
		})
	}
}

// A server that asks to be left alone is, for as long as it says.
func TestAResultMayTripIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		b = newSteady(t, func(o *breaker.Options) {
			o.Classify = func(_ context.Context, err error) breaker.Outcome {
				if err == errDown {
					b.Trip(time.Hour)
				}
				return breaker.Ignored
			}
		})
		play(t, b, "fail open late=1 59m59s refused 1s begin half-open")
	})
}

func TestMetricsOnlyReportsEachExcessOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []breaker.Reason
		b := newSteady(t, func(o *breaker.Options) {
			o.OnEvent = func(e breaker.Event) { got = append(got, e.Reason) }
		})
		play(t, b, "mode=metrics-only "+times(20, "fail")+"20s "+times(5, "ok")+times(5, "fail")+"20s slow slow slow ok ok")
		want := []breaker.Reason{breaker.ModeChanged, breaker.TooManyFailures, breaker.TooManyFailures, breaker.TooManySlow}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if want := (breaker.Totals{Succeeded: 10, Failed: 25}); b.Stats().Totals != want {
			t.Errorf("got %+v, want %+v", b.Stats().Totals, want)
		}
	})
}

// places are the states and modes a breaker can be in, with the way there by hand.
var places = []struct {
	name  string
	state breaker.State
	mode  breaker.Mode
	move  func(*breaker.Breaker) error
}{
	{"closed", breaker.Closed, breaker.Auto, func(b *breaker.Breaker) error { return b.SetState(breaker.Closed) }},
	{"open", breaker.Open, breaker.Auto, func(b *breaker.Breaker) error { return b.SetState(breaker.Open) }},
	{"half-open", breaker.HalfOpen, breaker.Auto, func(b *breaker.Breaker) error { return b.SetState(breaker.HalfOpen) }},
	{"disabled", breaker.Closed, breaker.Disabled, func(b *breaker.Breaker) error { b.SetMode(breaker.Disabled); return nil }},
	{"forced open", breaker.Open, breaker.ForcedOpen, func(b *breaker.Breaker) error { b.SetMode(breaker.ForcedOpen); return nil }},
	{"metrics only", breaker.Closed, breaker.MetricsOnly, func(b *breaker.Breaker) error { b.SetMode(breaker.MetricsOnly); return nil }},
}

func TestOf36MovesByHand33AreLegal(t *testing.T) {
	illegal := map[string]bool{
		"closed to half-open":       true,
		"metrics only to open":      true,
		"metrics only to half-open": true,
	}
	for _, from := range places {
		for _, to := range places {
			name := from.name + " to " + to.name
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					events := 0
					b := newSteady(t, func(o *breaker.Options) { o.OnEvent = func(breaker.Event) { events++ } })
					if from.state == breaker.HalfOpen {
						play(t, b, five+"5s ignore half-open")
					} else if err := from.move(b); err != nil {
						t.Fatal(err)
					}
					events = 0
					err := to.move(b)
					want, wantEvents := to, 1
					if illegal[name] {
						want = from
					}
					if illegal[name] || from.name == to.name {
						wantEvents = 0
					}
					if (err != nil) != illegal[name] {
						t.Errorf("got error %v", err)
					}
					if s := b.Stats(); s.State != want.state || s.Mode != want.mode {
						t.Errorf("got to %v, %v", s.State, s.Mode)
					}
					if events != wantEvents {
						t.Errorf("%d events, want %d", events, wantEvents)
					}
					play(t, b, map[string]string{
						"closed": five, "open": "refused 5s " + map[bool]string{true: "2500ms"}[from.name == "half-open" || from.name == "open"] + " ok half-open",
						"half-open": "begin begin begin begin refused endok endok endok endok closed", "disabled": times(9, "fail") + "closed",
						"forced open": "refused", "metrics only": times(9, "fail") + "100/0 closed"}[want.name])
				})
			})
		}
	}
}

func TestSetStateRefusesWhatIsNoState(t *testing.T) {
	b := newSteady(t, nil)
	if err := b.SetState(7); err == nil || b.State() != breaker.Closed {
		t.Fatalf("got %v, and it is %v", err, b.State())
	}
}
