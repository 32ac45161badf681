package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/cleave-go/cleave/contract/internal/match"
	"github.com/cleave-go/cleave/contract/internal/pact"
)

func (v *verifier) replayHTTP(ctx context.Context, in *pact.Interaction) ([]match.Mismatch, error) {
	if v.handler == nil {
		return nil, errors.New("it is an HTTP request. Add:\n\n\tcontract.Handler(mux),")
	}
	target := (&url.URL{Path: in.Request.Path, RawQuery: url.Values(in.Request.Query).Encode()}).String()
	req, err := http.NewRequestWithContext(ctx, strings.ToUpper(in.Request.Method), "http://provider.test"+target, bytes.NewReader(in.Request.Body.Data()))
	if err != nil {
		return nil, err
	}
	for name, values := range in.Request.Headers {
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if in.Request.Body.Type != "" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", in.Request.Body.Type)
	}
	req.RequestURI, req.RemoteAddr = target, "192.0.2.1:1234"
	for _, f := range v.prepare {
		f(req)
	}
	w := httptest.NewRecorder()
	v.handler.ServeHTTP(w, req)
	got := &pact.Response{Status: w.Code, Headers: w.Result().Header, Body: pact.NewBody(w.Header().Get("Content-Type"), w.Body.Bytes())}
	if m, err := methodOf(in); err == nil && got.Body.Kind == pact.JSON && w.Code == http.StatusOK {
		got.Body.Value = complete(m.schema.Output(), got.Body.Value)
	}
	return pact.CompareResponse(in.Response, got), nil
}

func (v *verifier) replayEvent(ctx context.Context, in *pact.Interaction) ([]match.Mismatch, error) {
	name, _ := in.Message.Metadata["type"].(string)
	record, ok := v.publishes[name]
	if !ok {
		if record, ok = v.publishes[in.Description]; !ok {
			return nil, fmt.Errorf("the event %q is not provided (%s). Add:\n\n\tcontract.Publishes(%q, func(ctx context.Context) (event.Record, error) {\n\t\treturn event.Record{}, errors.New(\"not written yet\")\n\t}),",
				name, knownNames(v.publishes), name)
		}
	}
	r, err := record(ctx)
	if err != nil {
		return nil, fmt.Errorf("the event %q: %w", name, err)
	}
	got := &pact.Message{Body: pact.NewBody(jsonType, r.Data), Metadata: eventMetadata(r)}
	return pact.CompareMessage(in.Message, got, true), nil
}

func (v *verifier) replayCommand(ctx context.Context, in *pact.Interaction) ([]match.Mismatch, error) {
	name, _ := in.Message.Metadata["command"].(string)
	if name == "" {
		name = in.Description
	}
	handle, ok := v.handles[name]
	if !ok {
		return nil, fmt.Errorf("the command %q is not handled (%s). Add:\n\n\tcontract.Handles(%q, func(ctx context.Context, req Request) (Reply, error) {\n\t\treturn Reply{}, errors.New(\"not written yet\")\n\t}),",
			name, knownNames(v.handles), name)
	}
	if len(in.Replies) == 0 {
		return nil, errors.New("the contract has no reply")
	}
	got := &pact.Message{Metadata: map[string]any{"contentType": jsonType, "outcome": outcomeDone}}
	rep, err := handle(ctx, in.Message.Body.Data())
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		got.Metadata["outcome"], got.Metadata["code"] = outcomeRefused, refusal.Code
	} else if err != nil {
		return nil, fmt.Errorf("the command %q: %w", name, err)
	} else {
		data, err := json.Marshal(rep)
		if err != nil {
			return nil, fmt.Errorf("the reply to %q: %w", name, err)
		}
		got.Body = pact.NewBody(jsonType, data)
	}
	return pact.CompareMessage(&in.Replies[0], got, true), nil
}

func knownNames[V any](m map[string]V) string {
	if len(m) == 0 {
		return "nothing is"
	}
	return "there is " + strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// unknownState says what to add for a state, with a struct for its parameters.
func (v *verifier) unknownState(s pact.State) error {
	var b strings.Builder
	fmt.Fprintf(&b, "nothing sets up the state %q", s.Name)
	if near := nearest(s.Name, slices.Sorted(maps.Keys(v.states))); near != "" {
		fmt.Fprintf(&b, " (there is %q)", near)
	}
	fmt.Fprintf(&b, ". Add:\n\n\tcontract.State(%q, func(ctx context.Context, p struct {\n", s.Name)
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		fmt.Fprintf(&b, "\t\t%s %s `json:%q`\n", goName(name), goType(s.Params[name]), name)
	}
	b.WriteString("\t}) error {\n\t\treturn errors.New(\"not written yet\")\n\t}),")
	return errors.New(b.String())
}

func goName(key string) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(key, func(r rune) bool { return r == '_' || r == '-' || r == '.' || r == ' ' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func goType(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			return "float64"
		}
		return "int64"
	}
	return "any"
}

// nearest returns the name that shares the longest beginning or has the other
// inside, if that is much.
func nearest(name string, names []string) string {
	best, score := "", len(name)/2
	for _, n := range names {
		common := 0
		for common < min(len(n), len(name)) && strings.EqualFold(n[common:common+1], name[common:common+1]) {
			common++
		}
		if common > score {
			best, score = n, common
		}
	}
	return best
}
