package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/opsapi"
	"github.com/cleave-go/cleave/platform/control/controlapi"
)

// operator asks the instances of a system's services by their admin listeners.
type operator struct {
	token string
	admin map[string]string // by service, the address of one instance
}

// notServedError says that a service has nothing of what is asked for.
type notServedError struct{ service, what string }

func (e *notServedError) Error() string { return e.service + " has no " + e.what + " to operate" }

// operator finds the running instances in the registry. The environment of any
// service says where that is.
func (e *env) operator(ctx context.Context) (*operator, error) {
	client, err := e.dial()
	if err != nil {
		return nil, err
	}
	sys, err := client.Status(ctx, &controlapi.StatusRequest{})
	if err != nil {
		return nil, err
	}
	for _, p := range sys.GetPrograms() {
		if p.GetKind() == "role" || len(p.GetServices()) == 0 {
			continue
		}
		res, err := client.Environment(ctx, &controlapi.EnvironmentRequest{Service: p.GetServices()[0]})
		if err != nil {
			return nil, err
		}
		return newOperator(ctx, res.GetEnvironment())
	}
	return nil, errors.New("the system has no services")
}

func newOperator(ctx context.Context, environ []string) (*operator, error) {
	value := func(name string) (v string) {
		for _, entry := range environ {
			if n, found, _ := strings.Cut(entry, "="); n == name {
				v = found
			}
		}
		return v
	}
	o := &operator{token: value("CLEAVE_TOKEN"), admin: map[string]string{}}
	registry, err := discovery.NewClient(value("CLEAVE_REGISTRY"), o.token, nil)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	services, err := registry.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		for _, i := range s.Instances {
			if addr := i.Meta["admin"]; addr != "" && i.Status == discovery.Up {
				o.admin[i.Service] = addr
			}
		}
	}
	return o, nil
}

// services returns the service asked for, or all that run.
func (o *operator) services(args []string) []string {
	if len(args) > 0 {
		return args[:1]
	}
	var all []string
	for s := range o.admin {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// ask returns the answer's body, which the caller closes.
func (o *operator) ask(ctx context.Context, method, service, path string, query url.Values) (io.ReadCloser, error) {
	addr, ok := o.admin[service]
	if !ok {
		return nil, &usageError{fmt.Sprintf("no instance of %s is up", service)}
	}
	u := url.URL{Scheme: "http", Host: addr, Path: "/ops/" + service + "/" + path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what there is of the reason
	what, _, _ := strings.Cut(path, "/")
	if message := strings.TrimSpace(string(text)); message != "404 page not found" {
		return nil, fmt.Errorf("%s: %s", service, message)
	}
	return nil, &notServedError{service, what}
}

// get asks for one value.
func (o *operator) get(ctx context.Context, method, service, path string, query url.Values, v any) error {
	body, err := o.ask(ctx, method, service, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("%s: %w", service, err)
	}
	return nil
}

// lines calls f with each line of an answer.
func lines[T any](body io.ReadCloser, f func(T) error) error {
	defer body.Close()
	in := bufio.NewScanner(body)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			return err
		}
		if err := f(v); err != nil {
			return err
		}
	}
	return in.Err()
}

// bar shows progress on one line, on a terminal only.
func (e *env) bar(done, head uint64, eta time.Duration) {
	if !interactive(e.err) || e.json {
		return
	}
	const width = 30
	part := 1.0
	if head > 0 {
		part = min(1, float64(done)/float64(head))
	}
	full := int(part * width)
	text := fmt.Sprintf("\r[%s%s] %3.0f %%  %d of %d", strings.Repeat("#", full), strings.Repeat(".", width-full), part*100, done, head)
	if eta > 0 {
		text += "  " + eta.Round(time.Second).String() + " left"
	}
	fmt.Fprint(e.err, text+"\x1b[K")
	if done >= head {
		fmt.Fprintln(e.err)
	}
}

// rows prints values: as lines of JSON, or as a table.
func rows[T any](e *env, head string, list []T, cells func(T) []any) {
	if e.json {
		for _, v := range list {
			e.print(v)
		}
		return
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, head)
	for _, v := range list {
		for i, c := range cells(v) {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	}
}

// verb takes the verb and its arguments apart.
func verb(args []string, what string, least map[string]int) (string, []string, error) {
	if len(args) == 0 {
		return "", nil, &usageError{what + " needs to know what to do; see `cleave help`"}
	}
	n, ok := least[args[0]]
	if !ok {
		return "", nil, &usageError{fmt.Sprintf("%s has no %q; see `cleave help`", what, args[0])}
	}
	if len(args)-1 < n {
		return "", nil, &usageError{fmt.Sprintf("%s %s needs %d arguments; see `cleave help`", what, args[0], n)}
	}
	return args[0], args[1:], nil
}

type eventsFlags struct {
	n, after int
	follow   bool
}

func (f *eventsFlags) declare(fs *flag.FlagSet) {
	fs.IntVar(&f.n, "n", 10, "")
	fs.IntVar(&f.after, "after", -1, "")
	fs.BoolVar(&f.follow, "f", false, "")
}

func (f *eventsFlags) run(ctx context.Context, e *env, args []string) error {
	what, args, err := verb(args, "events", map[string]int{"tail": 1, "show": 2, "replay": 1, "epoch": 1})
	if err != nil {
		return err
	}
	o, err := e.operator(ctx)
	if err != nil {
		return err
	}
	return f.act(ctx, e, o, what, args)
}

func (f *eventsFlags) act(ctx context.Context, e *env, o *operator, what string, args []string) error {
	switch what {
	case "tail":
		return f.tail(ctx, e, o, args[0])
	case "show":
		return f.show(ctx, e, o, args[0], args[1])
	case "replay":
		return f.replay(ctx, e, o, args[0])
	}
	query := url.Values{}
	if f.after >= 0 {
		query.Set("after", strconv.Itoa(f.after))
	}
	var epoch opsapi.Epoch
	if err := o.get(ctx, "POST", args[0], "events/epoch", query, &epoch); err != nil {
		return err
	}
	if e.json {
		e.print(epoch)
		return nil
	}
	fmt.Fprintf(e.out, "%s goes on in epoch %s behind position %d; restart it: cleave restart %s\n", args[0], epoch.Epoch, epoch.After, args[0])
	return nil
}

func (e *env) event(r opsapi.Event) error {
	if e.json {
		e.print(r)
		return nil
	}
	_, err := fmt.Fprintf(e.out, "%d  %s  %s %d  %s  %s\n", r.Position, r.Time.Local().Format("2006-01-02 15:04:05.000"), r.Stream, r.Version, r.Type, r.Data)
	return err
}

func (f *eventsFlags) tail(ctx context.Context, e *env, o *operator, service string) error {
	var head opsapi.Head
	if err := o.get(ctx, "GET", service, "events/head", nil, &head); err != nil {
		return err
	}
	query := url.Values{"after": {strconv.FormatUint(head.Head-min(head.Head, uint64(max(f.n, 0))), 10)}}
	if f.follow {
		query.Set("live", "1")
	}
	body, err := o.ask(ctx, "GET", service, "events/", query)
	if err != nil {
		return err
	}
	if err = lines(body, e.event); f.follow && ctx.Err() != nil {
		return nil
	}
	return err
}

// show shows a stream, or the event at a position.
func (f *eventsFlags) show(ctx context.Context, e *env, o *operator, service, what string) error {
	query := url.Values{"stream": {what}}
	if n, err := strconv.ParseUint(what, 10, 63); err == nil && n > 0 {
		query = url.Values{"after": {strconv.FormatUint(n-1, 10)}, "limit": {"1"}}
	} else if !strings.Contains(what, "/") {
		return &usageError{"events show takes a position or a stream, <category>/<id>"}
	}
	body, err := o.ask(ctx, "GET", service, "events/", query)
	if err != nil {
		return err
	}
	return lines(body, e.event)
}

// replay writes the whole history, in order, as lines of JSON.
func (f *eventsFlags) replay(ctx context.Context, e *env, o *operator, service string) error {
	var head opsapi.Head
	if err := o.get(ctx, "GET", service, "events/head", nil, &head); err != nil {
		return err
	}
	body, err := o.ask(ctx, "GET", service, "events/", url.Values{"after": {strconv.Itoa(max(f.after, 0))}})
	if err != nil {
		return err
	}
	shown := time.Now()
	var last uint64
	err = lines(body, func(r opsapi.Event) error {
		e.print(r)
		if last = r.Position; time.Since(shown) > 100*time.Millisecond && !interactive(e.out) {
			shown = time.Now()
			e.bar(last, head.Head, 0)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case last < head.Head && uint64(max(f.after, 0)) < head.Head && last == 0:
		return fmt.Errorf("%s: the answer ended before position %d", service, head.Head)
	}
	if !interactive(e.out) {
		e.bar(head.Head, head.Head, 0)
	}
	return nil
}

type projectionFlags struct{ all bool }

func (f *projectionFlags) declare(fs *flag.FlagSet) { fs.BoolVar(&f.all, "all", false, "") }

func (f *projectionFlags) run(ctx context.Context, e *env, args []string) error {
	what, args, err := verb(args, "projection", map[string]int{"status": 0, "parked": 0, "rebuild": 2, "retry": 2})
	if err != nil {
		return err
	}
	o, err := e.operator(ctx)
	if err != nil {
		return err
	}
	return f.act(ctx, e, o, what, args)
}

func (f *projectionFlags) act(ctx context.Context, e *env, o *operator, what string, args []string) error {
	switch what {
	case "status":
		list, err := gather[opsapi.Progress](ctx, o, args, "projection/", nil)
		if err != nil {
			return err
		}
		rows(e, "SERVICE\tPROJECTION\tVERSION\tLIVE\tSOURCE\tDONE\tHEAD\tPER SECOND\tLEFT\tPARKED", list, func(p of[opsapi.Progress]) []any {
			left := ""
			if p.Value.ETA > 0 {
				left = (time.Duration(p.Value.ETA * float64(time.Second))).Round(time.Second).String()
			}
			return []any{p.Service, p.Value.Projection, p.Value.Version, p.Value.Live, p.Value.Source, p.Value.Done, p.Value.Head, int(p.Value.Rate), left, p.Value.Parked}
		})
		return nil
	case "parked":
		list, err := gather[opsapi.Parked](ctx, o, args, "projection/parked", nil)
		if err != nil {
			return err
		}
		rows(e, "SERVICE\tPROJECTION\tVERSION\tSOURCE\tSTREAM\tPOSITION\tKEPT\tTRIES\tSINCE\tERROR", list, func(p of[opsapi.Parked]) []any {
			v := p.Value
			return []any{p.Service, v.Projection, v.Version, v.Source, v.Stream, v.Position, v.Kept, v.Tries, since(v.Since), v.Error}
		})
		return nil
	case "rebuild":
		return e.rebuild(ctx, o, args[0], args[1])
	}
	return f.retry(ctx, e, o, args)
}

func (e *env) rebuild(ctx context.Context, o *operator, service, name string) error {
	body, err := o.ask(ctx, "POST", service, "projection/rebuild", url.Values{"name": {name}})
	if err != nil {
		return err
	}
	var last opsapi.Progress
	err = lines(body, func(p opsapi.Progress) error {
		if p.Error != "" {
			return errors.New(p.Error)
		}
		if last = p; e.json {
			e.print(p)
		}
		e.bar(p.Done, p.Head, time.Duration(p.ETA*float64(time.Second)))
		return nil
	})
	if err == nil && last.Done < last.Head {
		err = fmt.Errorf("%s did not say that it is done; it is built on: cleave projection status %s", service, service)
	}
	if err == nil && !e.json {
		fmt.Fprintf(e.out, "%s is built: %d positions\n", name, last.Head)
	}
	return err
}

func (f *projectionFlags) retry(ctx context.Context, e *env, o *operator, args []string) error {
	service, name := args[0], args[1]
	streams := args[2:]
	if f.all {
		var list []opsapi.Parked
		if err := o.get(ctx, "GET", service, "projection/parked", url.Values{"name": {name}}, &list); err != nil {
			return err
		}
		for _, p := range list {
			streams = append(streams, p.Stream)
		}
	}
	if len(streams) == 0 && !f.all {
		return &usageError{"projection retry takes streams, <category>/<id>, or --all"}
	}
	var errs []error
	for i, s := range streams {
		var done struct{}
		errs = append(errs, o.get(ctx, "POST", service, "projection/retry", url.Values{"name": {name}, "stream": {s}}, &done))
		e.bar(uint64(i+1), uint64(len(streams)), 0)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	e.done(fmt.Sprintf("%d streams go on", len(streams)))
	return nil
}

// of is a value with the service that it is of.
type of[T any] struct {
	Service string `json:"service"`
	Value   T      `json:"value"`
}

// gather asks several services; those that have none of it are left out unless
// it is the only one.
func gather[T any](ctx context.Context, o *operator, args []string, path string, query url.Values) ([]of[T], error) {
	var all []of[T]
	for _, service := range o.services(args) {
		var list []T
		err := o.get(ctx, "GET", service, path, query, &list)
		var none *notServedError
		if errors.As(err, &none) && len(args) == 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			all = append(all, of[T]{service, v})
		}
	}
	return all, nil
}

type sagaFlags struct {
	stuck, ended bool
	reason       string
}

func (f *sagaFlags) declare(fs *flag.FlagSet) {
	fs.BoolVar(&f.stuck, "stuck", false, "")
	fs.BoolVar(&f.ended, "ended", false, "")
	fs.StringVar(&f.reason, "reason", "", "")
}

func (f *sagaFlags) run(ctx context.Context, e *env, args []string) error {
	what, args, err := verb(args, "saga", map[string]int{"list": 0, "show": 2, "resume": 2, "undo": 2})
	if err != nil {
		return err
	}
	o, err := e.operator(ctx)
	if err != nil {
		return err
	}
	return f.act(ctx, e, o, what, args)
}

func (f *sagaFlags) act(ctx context.Context, e *env, o *operator, what string, args []string) error {
	switch what {
	case "list":
		query := url.Values{}
		if f.stuck {
			query.Set("which", "stuck")
		} else if f.ended {
			query.Set("which", "ended")
		}
		list, err := gather[opsapi.Saga](ctx, o, args, "saga/", query)
		if err != nil {
			return err
		}
		rows(e, "SERVICE\tID\tSAGA\tKEY\tSTATE\tSTEP\tTRIES\tSTUCK\tCHANGED\tERROR", list, func(s of[opsapi.Saga]) []any {
			v := s.Value
			return []any{s.Service, v.ID, v.Saga, v.Key, v.State, v.Step, v.Attempts, v.Stuck, since(v.Updated), v.Error}
		})
		return nil
	case "show":
		var s opsapi.Saga
		if err := o.get(ctx, "GET", args[0], "saga/show", url.Values{"id": {args[1]}}, &s); err != nil {
			return err
		}
		if e.json {
			e.print(s)
			return nil
		}
		text, err := json.MarshalIndent(s, "", "  ")
		fmt.Fprintf(e.out, "%s\n", text)
		return err
	}
	var done struct{}
	if err := o.get(ctx, "POST", args[0], "saga/"+what, url.Values{"id": {args[1]}, "reason": {f.reason}}, &done); err != nil {
		return err
	}
	e.done(map[string]string{"resume": "it is tried again", "undo": "it is undone"}[what])
	return nil
}
