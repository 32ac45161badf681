package contract

import (
	"fmt"
	"net/http"

	"github.com/cleave-go/cleave/contract/internal/pact"
)

// Stub returns a handler that answers HTTP requests as the Pact files say, so
// that a service can be tested with its neighbours' contracts in place of its
// neighbours. Procedures are answered in every protocol and codec of Connect,
// also those of services that this program knows nothing of. What no contract
// has is answered with code internal, or status 501, and the differences to the
// closest.
func Stub(files ...string) (http.Handler, error) {
	r := &responder{missed: func(string, string) {}}
	for _, name := range files {
		f, err := pact.Load(name)
		if err != nil {
			return nil, fmt.Errorf("contract: %w", err)
		}
		for i := range f.Interactions {
			in := &f.Interactions[i]
			if in.Type != pact.HTTP {
				continue
			}
			x := &exchange{Interaction: in, used: func() {}}
			if m, err := methodOf(in); err == nil {
				x.method = &m
			}
			r.add(x)
		}
	}
	if len(r.exchanges) == 0 {
		return nil, fmt.Errorf("contract: nothing to answer: no HTTP interactions in %q", files)
	}
	return r, nil
}

// methodOf finds the procedure that an interaction calls, if it calls one.
func methodOf(in *pact.Interaction) (method, error) {
	if in.Descriptors == "" {
		return findMethod(in.Request.Path, nil)
	}
	files, err := parseDescriptors(in.Descriptors)
	if err != nil {
		return method{}, err
	}
	return findMethod(in.Request.Path, files)
}
