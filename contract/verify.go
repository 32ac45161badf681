package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cleave-go/cleave/contract/internal/match"
	"github.com/cleave-go/cleave/contract/internal/pact"
	"github.com/cleave-go/cleave/event"
)

// Runner is what Verify needs of a *testing.T: it runs subtests.
type Runner[R any] interface {
	T
	Run(name string, f func(R)) bool
}

// Option tells Verify where the contracts are and what the provider is.
type Option func(*verifier)

// verifier holds what the options say.
type verifier struct {
	provider  string
	files     []string
	dirs      []string
	allowNone bool
	handler   http.Handler
	prepare   []func(*http.Request)
	states    map[string]stateFunc
	publishes map[string]func(context.Context) (event.Record, error)
	handles   map[string]handleFunc
}

type (
	stateFunc  func(ctx context.Context, params map[string]any) error
	handleFunc func(ctx context.Context, request json.RawMessage) (any, error)
)

// Dir reads the contracts of the provider among the Pact files of a folder.
func Dir(path string) Option { return func(v *verifier) { v.dirs = append(v.dirs, path) } }

// Files reads these Pact files.
func Files(paths ...string) Option { return func(v *verifier) { v.files = append(v.files, paths...) } }

// AllowNone lets Verify succeed when there are no contracts.
func AllowNone() Option { return func(v *verifier) { v.allowNone = true } }

// Handler is the provider's HTTP handler. It is called in process.
func Handler(h http.Handler) Option { return func(v *verifier) { v.handler = h } }

// Prepare changes each request before the handler gets it: it adds a token, say.
func Prepare(f func(*http.Request)) Option {
	return func(v *verifier) { v.prepare = append(v.prepare, f) }
}

// State sets up a state. Parameters that P has no field for are an error.
func State[P any](name string, setup func(ctx context.Context, p P) error) Option {
	return func(v *verifier) {
		v.states[name] = func(ctx context.Context, params map[string]any) error {
			var p P
			if err := strictly(params, &p); err != nil {
				return fmt.Errorf("parameters: %w", err)
			}
			return setup(ctx, p)
		}
	}
}

func strictly(params map[string]any, into any) error {
	if len(params) == 0 {
		return nil
	}
	data, err := match.Encode(params, "")
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// Publishes returns the event of a type as the provider really records it,
// after the states are set up.
func Publishes(eventType string, record func(ctx context.Context) (event.Record, error)) Option {
	return func(v *verifier) { v.publishes[eventType] = record }
}

// Handles carries out a command as the provider really does. A *Refusal is a
// reply; other errors fail the test.
func Handles[Req, Rep any](command string, handle func(ctx context.Context, req Req) (Rep, error)) Option {
	return func(v *verifier) {
		v.handles[command] = func(ctx context.Context, request json.RawMessage) (any, error) {
			var req Req
			if err := json.Unmarshal(request, &req); err != nil {
				return nil, fmt.Errorf("the provider cannot read the command: %w", err)
			}
			return handle(ctx, req)
		}
	}
}

// Verify replays every contract of the provider, one subtest for each
// interaction: <consumer>/<description>.
func Verify[R Runner[R]](t R, provider string, options ...Option) {
	t.Helper()
	v := &verifier{provider: provider, states: map[string]stateFunc{}, handles: map[string]handleFunc{},
		publishes: map[string]func(context.Context) (event.Record, error){}}
	for _, o := range options {
		o(v)
	}
	contracts, err := v.load()
	if err != nil {
		t.Fatalf("contract: %v", err)
		return
	}
	if len(contracts) == 0 && !v.allowNone {
		t.Fatalf("contract: no contracts of %s in %s: a provider without contracts keeps none. Record some, or say AllowNone()", provider, strings.Join(append(v.dirs, v.files...), ", "))
		return
	}
	for _, f := range contracts {
		for i := range f.Interactions {
			in := &f.Interactions[i]
			t.Run(f.Consumer+"/"+in.Description, func(t R) {
				t.Helper()
				v.verify(t, f, in)
			})
		}
	}
}

func (v *verifier) load() ([]*pact.File, error) {
	paths := v.files
	for _, dir := range v.dirs {
		if _, err := os.Stat(dir); err != nil && !v.allowNone {
			return nil, err
		}
		found, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	var contracts []*pact.File
	for _, path := range paths {
		f, err := pact.Load(path)
		if err != nil {
			return nil, err
		}
		if f.Provider != v.provider {
			if slices.Contains(v.files, path) {
				return nil, fmt.Errorf("%s is a contract with %s, not with %s", path, f.Provider, v.provider)
			}
			continue
		}
		if len(f.Interactions) == 0 {
			return nil, fmt.Errorf("%s has no interactions", path)
		}
		contracts = append(contracts, f)
	}
	return contracts, nil
}

func (v *verifier) verify(t T, f *pact.File, in *pact.Interaction) {
	t.Helper()
	report := t.Errorf
	if in.Pending {
		report = t.Logf
	}
	recorded := ""
	if in.Test != "" {
		recorded = ", recorded by " + in.Test
	}
	found, err := v.replay(t.Context(), in)
	switch {
	case err != nil:
		report("contract: %s: %q of %s cannot be replayed%s: %v", v.provider, in.Description, f.Consumer, recorded, err)
	case len(found) > 0:
		report("contract: %s does not keep what %s expects in %q (%s%s):\n%s", v.provider, f.Consumer, in.Description, f.Name, recorded, match.Table(found))
	}
}

func (v *verifier) replay(ctx context.Context, in *pact.Interaction) ([]match.Mismatch, error) {
	for _, s := range in.States {
		setup, ok := v.states[s.Name]
		if !ok {
			return nil, v.unknownState(s)
		}
		if err := setup(ctx, s.Params); err != nil {
			return nil, fmt.Errorf("the state %q: %w", s.Name, err)
		}
	}
	switch in.Type {
	case pact.HTTP:
		return v.replayHTTP(ctx, in)
	case pact.Event:
		return v.replayEvent(ctx, in)
	case pact.Command:
		return v.replayCommand(ctx, in)
	}
	return nil, errors.New("it is of an unknown type")
}
