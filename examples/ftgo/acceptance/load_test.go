package acceptance_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// long reports whether tests may take the time that their figures want.
func long() bool { return os.Getenv("CLEAVE_LONG") != "" }

// shorter returns d, or a part of it that is enough for a change to be refused.
func shorter(d, reduced time.Duration) time.Duration {
	if long() {
		return d
	}
	return reduced
}

// load is traffic that does not wait for answers: a request leaves whenever its time has come, and its latency counts
// from then.
type load struct {
	t       *testing.T
	end     chan struct{}
	running sync.WaitGroup

	mu       sync.Mutex
	phase    string
	phases   []string
	took     map[string][]time.Duration
	failures []string
	failed   int
	late     int // answers without a part whose time was over
}

// callFunc sends the n-th request and says what was wrong with the answer.
type callFunc func(n int) error

// startLoad sends rate requests a second until stop. It begins in the phase "before".
func startLoad(t *testing.T, rate int, call callFunc) *load {
	l := &load{t: t, end: make(chan struct{}), took: map[string][]time.Duration{}}
	l.enter("before")
	l.running.Go(func() { l.run(time.Second/time.Duration(rate), call) })
	return l
}

func (l *load) run(interval time.Duration, call callFunc) {
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-l.end:
			return
		case <-timer.C:
		}
		at := due
		l.running.Go(func() {
			phase := l.now()
			err := call(n)
			l.note(phase, at, time.Since(at), err)
		})
		due = due.Add(interval)
		timer.Reset(time.Until(due))
	}
}

// enter says what happens to the system from now on.
func (l *load) enter(phase string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase = phase; !slices.Contains(l.phases, phase) {
		l.phases = append(l.phases, phase)
	}
}

func (l *load) now() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase
}

func (l *load) note(phase string, at time.Time, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took[phase] = append(l.took[phase], took)
	if errors.Is(err, errLate) {
		l.late++
	}
	if err == nil || errors.Is(err, errLate) {
		return
	}
	if l.failed++; l.failed <= 20 {
		l.failures = append(l.failures, fmt.Sprintf("%s (%s, after %v): %v", at.Format("15:04:05.000"), phase, took.Round(time.Millisecond), err))
	}
}

// stop ends the traffic, waits for its answers, logs the figures and fails the test if a request failed.
func (l *load) stop() {
	l.t.Helper()
	close(l.end)
	l.running.Wait()
	total := 0
	for _, phase := range l.phases {
		took := l.took[phase]
		slices.Sort(took)
		if total += len(took); len(took) > 0 {
			l.t.Logf("%-28s %6d requests  p50 %-8v p99 %-8v max %v", phase, len(took), quantile(took, 50), quantile(took, 99), quantile(took, 100))
		}
	}
	l.t.Logf("%d requests, %d failed, %d answered without a late part", total, l.failed, l.late)
	if l.late > total/10 {
		l.t.Errorf("%d of %d answers lack a part: the machine is too busy for this test", l.late, total)
	}
	if l.failed > 0 {
		l.t.Errorf("%d of %d requests failed:\n%s", l.failed, total, strings.Join(l.failures, "\n"))
	}
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[max(0, (len(sorted)*percent+99)/100-1)].Round(100 * time.Microsecond)
}

// keepAlive returns an HTTP/1.1 client that reuses its connections, as a proxy in front of the gateway does. It lets go
// of those that are idle for a second: a gateway that stops closes idle ones later than that.
func keepAlive() *http.Client {
	only1 := &http.Protocols{}
	only1.SetHTTP1(true)
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		Protocols: only1, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Second,
	}}
}

// orders is a mix of what a page asks and what a consumer does: one request in ten places an order.
type orders struct {
	who    client
	w      town
	known  []string // approved before
	mu     sync.Mutex
	placed map[string]string // id by idempotency key
}

func newOrders(t *testing.T, w town) *orders {
	t.Helper()
	o := &orders{who: w.asConsumer, w: w, placed: map[string]string{}}
	o.who.via = keepAlive()
	t.Cleanup(o.who.via.CloseIdleConnections)
	for range 10 {
		id, _ := w.approved(t)
		o.known = append(o.known, id)
	}
	return o
}

func (o *orders) call(n int) error {
	if n%10 == 0 {
		return o.place(fmt.Sprintf("load-%d", n))
	}
	document := `query($id: ID!) { order(id: $id) { id status total { amount } } }`
	if n%4 == 0 {
		document = getOrder
	}
	id := o.known[n%len(o.known)]
	a, err := o.who.try(document, vars{"id": id})
	return flawed(a, err, "order.id", id)
}

func (o *orders) place(key string) error {
	input := o.w.order(o.w.consumer)
	input["idempotencyKey"] = key
	a, err := o.who.try(placeOrder, vars{"input": input})
	if err := flawed(a, err, "", nil); err != nil {
		return err
	}
	id, _ := a.at("placeOrder.id").(string)
	o.mu.Lock()
	defer o.mu.Unlock()
	if before, ok := o.placed[key]; ok && before != id {
		return fmt.Errorf("key %s placed %s and %s", key, before, id)
	}
	o.placed[key] = id
	return nil
}

// errLate is an answer that lacks an optional part only, because its service took longer than the second it has. A busy
// machine does that, so it is counted apart; a part that could not be had sooner than that is a failure.
var errLate = errors.New("a part was late")

func late(e graphError) bool {
	elapsed, _ := e.Extensions["elapsedMs"].(float64)
	return len(e.Path) > 1 && elapsed >= 1000
}

// flawed says what is wrong with an answer that has to be whole.
func flawed(a answer, err error, path string, want any) error {
	switch {
	case err != nil:
		return err
	case a.Status == http.StatusOK && len(a.Errors) > 0 && !slices.ContainsFunc(a.Errors, func(e graphError) bool { return !late(e) }):
		return errLate
	case a.Status != http.StatusOK || len(a.Errors) > 0:
		return fmt.Errorf("status %d, errors %v, request %s", a.Status, a.Errors, a.Header.Get("X-Request-Id"))
	case path != "" && a.at(path) != want:
		return fmt.Errorf("%s is %v, want %v", path, a.at(path), want)
	}
	return nil
}

// settled waits until every order that was placed is approved, and checks that its key still stands for it.
func (o *orders) settled(t *testing.T) {
	t.Helper()
	checked := 0
	for key, id := range o.placed {
		within(t, 30*time.Second, "order "+id+" is approved", func() bool {
			return o.who.must(`query($id: ID!) { order(id: $id) { status } }`, vars{"id": id}, "order.status") == "APPROVED"
		})
		if checked++; checked <= 10 {
			if err := o.place(key); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d orders were placed, all are approved", len(o.placed))
}

// instance is what `cleave status` says of one.
type instance struct {
	ID, Phase, Reason, Address, Version string
	AdminAddress                        string `json:"admin_address"`
	PID, Restarts                       int
	Since                               time.Time // in that phase
}

// instances returns what runs of a service or role.
func (s *system) instances(t testing.TB, name string) []instance {
	t.Helper()
	var out struct {
		Programs []struct {
			Name      string
			Services  []string
			Instances []instance
		}
	}
	s.cliJSON(t, &out, "status")
	for _, p := range out.Programs {
		if p.Name == name || slices.Contains(p.Services, name) {
			return p.Instances
		}
	}
	t.Fatalf("cleave status does not know %s", name)
	return nil
}

// must runs a command of cleave that has to succeed.
func (s *system) must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.cli(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
