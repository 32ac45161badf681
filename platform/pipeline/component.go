package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/platform/messaging"
)

// componentInputs returns what the component stage of a service depends on, and
// the artefact it judges.
func (l *line) componentInputs(ctx context.Context, u unit) (in inputs, digest string, err error) {
	if digest, err = l.built(ctx, u); err != nil {
		return nil, "", err
	}
	in = maps.Clone(l.tools)
	in["artefact"] = digest
	for name, value := range l.declared(u) {
		in.add("env of "+u.Name+" "+name, value)
	}
	t := tree{root: l.sys.Dir}
	files, err := l.contracts()
	for _, f := range files {
		if p, e := readPact(f); e == nil && (p.Consumer.Name == u.Name || p.Provider.Name == u.Name) && err == nil {
			err = t.file(in, f)
		}
	}
	return in, digest, err
}

// declared is the environment that cleave.yaml gives the service.
func (l *line) declared(u unit) map[string]string {
	env := maps.Clone(l.sys.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, u.Env)
	return env
}

// component starts the artefact alone and looks at it from outside.
func (l *line) component(ctx context.Context, j *job, u unit) error {
	in, digest, err := l.componentInputs(ctx, u)
	if err != nil {
		return err
	}
	j.result.Artifact = digest
	if err := j.changed(in); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cleave-component-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	p := &program{file: l.cache.artifact(digest), name: u.Name, dir: dir, ready: l.opts.Ready, stop: l.opts.Stop}
	var offered, needed []pact
	if err := j.step("neighbours", "", func() (string, string, error) {
		if offered, needed, err = l.involving(u.Name); err != nil {
			return "", "", err
		}
		if err := p.inspect(ctx, l.env); err != nil {
			return "", "", err
		}
		note, err := p.surround(ctx, needed)
		return note, "", err
	}); err != nil {
		return err
	}
	defer p.leave()
	if err := p.environment(ctx, l.env, l.declared(u), digest); err != nil {
		return err
	}
	if err := j.step("start", "", func() (string, string, error) {
		took, err := p.start(ctx)
		return fmt.Sprintf("ready after %d ms", took.Milliseconds()), p.log(err), err
	}); err != nil {
		return err
	}
	if p.kit {
		if err := j.step("health", "", func() (string, string, error) { return p.health(ctx) }); err != nil {
			return err
		}
	}
	if len(offered) > 0 {
		if err := j.step("contracts", "", func() (string, string, error) { return p.answers(ctx, offered) }); err != nil {
			return err
		}
	}
	return j.step("stop", "", func() (string, string, error) {
		took, err := p.end()
		return fmt.Sprintf("ended %d ms after SIGTERM", took.Milliseconds()), p.log(err), err
	})
}

// involving returns the contracts in which a service is the provider, and those
// in which it is the consumer.
func (l *line) involving(service string) (offered, needed []pact, err error) {
	files, err := l.contracts()
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		p, err := readPact(f)
		switch {
		case err != nil:
			return nil, nil, err
		case p.Provider.Name == service:
			offered = append(offered, p)
		case p.Consumer.Name == service:
			needed = append(needed, p)
		}
	}
	return offered, needed, nil
}

// surround starts a stub for each neighbour: one that answers as their contract
// says, or refuses every call if there is none.
func (p *program) surround(ctx context.Context, needed []pact) (note string, err error) {
	files := map[string][]string{}
	for _, name := range p.calls {
		files[name] = nil
	}
	for _, n := range needed {
		calls, err := n.calls()
		if err != nil {
			return "", err
		}
		if len(calls) > 0 {
			files[n.Provider.Name] = append(files[n.Provider.Name], n.file)
		}
	}
	var stubs, strangers, words []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		handler := refuse(name)
		if len(files[name]) > 0 {
			if handler, err = contract.Stub(files[name]...); err != nil {
				return "", err
			}
			stubs = append(stubs, name)
		} else {
			strangers = append(strangers, name)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
		go srv.Serve(ln)
		p.after = append(p.after, func() { srv.Close() })
		p.env = append(p.env, "CLEAVE_ADDR_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+ln.Addr().String())
	}
	if len(stubs) > 0 {
		words = append(words, "by contract: "+strings.Join(stubs, ", "))
	}
	if len(strangers) > 0 {
		words = append(words, "without a contract, refusing calls: "+strings.Join(strangers, ", "))
	}
	if p.kit {
		if err := p.broker(ctx); err != nil {
			return "", err
		}
		words = append(words, "an empty broker")
	}
	return strings.Join(words, "; "), nil
}

func refuse(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": "unavailable", "message": "there is no contract with " + name})
	})
}

// broker runs a message broker until the stage ends.
func (p *program) broker(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- messaging.Run(ctx, messaging.Options{
			Dir: filepath.Join(p.dir, "broker"), Listen: "127.0.0.1:0", Logger: quiet, Ready: func(url string) { ready <- url },
		})
	}()
	select {
	case url := <-ready:
		p.env = append(p.env, "NATS_URL="+url)
		p.after = append(p.after, func() { cancel(); <-ended })
		return nil
	case err := <-ended:
		cancel()
		return fmt.Errorf("broker: %w", err)
	}
}
