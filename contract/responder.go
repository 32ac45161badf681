package contract

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/contract/internal/match"
	"github.com/cleave-go/cleave/contract/internal/pact"
)

// maxBody bounds what a request to a responder may have, in bytes.
const maxBody = 4 << 20

// exchange is an HTTP interaction that a responder answers.
type exchange struct {
	*pact.Interaction
	method *method // nil: plain HTTP
	used   func()
}

// responder answers requests as interactions say. A procedure is answered in
// every protocol and codec.
type responder struct {
	missed func(what, differences string)

	mu        sync.RWMutex
	exchanges []*exchange
}

func (r *responder) add(x *exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exchanges = append(r.exchanges, x)
}

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.RLock()
	i := slices.IndexFunc(r.exchanges, func(x *exchange) bool { return x.method != nil && x.Request.Path == req.URL.Path })
	var m *method
	if i >= 0 {
		m = r.exchanges[i].method
	}
	r.mu.RUnlock()
	if m != nil {
		r.serveUnary(*m, w, req)
		return
	}
	r.serveHTTP(w, req)
}

// serveUnary leaves protocol and codec to connect.
func (r *responder) serveUnary(m method, w http.ResponseWriter, req *http.Request) {
	server := connect.NewServer()
	server.Register(connect.Method{Spec: m.spec(), Handler: func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
		in := newMessage(m.schema.Input())
		if err := stream.Receive(in); err != nil {
			return err
		}
		doc, err := toJSON(in)
		if err != nil {
			return err
		}
		got := &pact.Request{Method: http.MethodPost, Path: m.procedure, Headers: req.Header.Clone(), Body: pact.Body{Kind: pact.JSON, Type: jsonType, Value: doc}}
		http.Header(got.Headers).Set("Content-Type", jsonType)
		x, differences := r.find(got)
		if x == nil {
			return connect.NewError(connect.CodeInternal, "the contract has no such call\n"+differences)
		}
		out, err := m.answer(x.Response)
		if err != nil {
			return err
		}
		return stream.Send(out)
	}})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server, connecthttp.WithReadMaxBytes(maxBody))
	mux.ServeHTTP(w, req)
}

// find returns the exchange that expects a request, or else the differences to
// the one that is closest.
func (r *responder) find(got *pact.Request) (*exchange, string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var closest []match.Mismatch
	found := false
	for _, x := range r.exchanges {
		differences := pact.CompareRequest(x.Request, got)
		if len(differences) == 0 {
			x.used()
			return x, ""
		}
		if samePath := len(match.URLPath(x.Request.Path, got.Path, x.Request.Rules["path"])) == 0; samePath && (!found || len(differences) < len(closest)) {
			closest, found = differences, true
		}
	}
	text := match.Table(closest)
	if !found {
		text = "no call of this path is expected"
	}
	r.missed(got.Method+" "+got.Path, text)
	return nil, text
}

// answer returns the message or the error of a recorded response.
func (m method) answer(resp *pact.Response) (proto.Message, error) {
	doc, ok := resp.Body.Value.(map[string]any)
	if resp.Status == http.StatusOK || resp.Status == 0 {
		out := newMessage(m.schema.Output())
		if resp.Body.Kind == pact.Missing || resp.Body.Kind == pact.Empty {
			return out, nil
		}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(resp.Body.Data(), out); err != nil {
			return nil, connect.NewError(connect.CodeInternal, "the contract's response: "+err.Error())
		}
		return out, nil
	}
	code := connect.CodeUnknown
	name, _ := doc["code"].(string)
	if err := code.UnmarshalText([]byte(name)); !ok || err != nil {
		return nil, connect.NewError(connect.CodeUnknown, fmt.Sprintf("the contract's response has status %d", resp.Status))
	}
	message, _ := doc["message"].(string)
	e := connect.NewError(code, message)
	details, _ := doc["details"].([]any)
	for _, x := range details {
		d, _ := x.(map[string]any)
		kind, _ := d["type"].(string)
		text, _ := d["value"].(string)
		if value, err := base64.RawStdEncoding.DecodeString(text); err == nil {
			e = e.WithDetail(&connect.ErrorDetail{Type: kind, Value: value})
		}
	}
	return nil, e
}

// serveHTTP answers what is no procedure.
func (r *responder) serveHTTP(w http.ResponseWriter, req *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	x, differences := r.find(requestOf(req, data))
	if x == nil {
		http.Error(w, "the contract has no such request\n"+differences, http.StatusNotImplemented)
		return
	}
	for name, values := range x.Response.Headers {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(cmp.Or(x.Response.Status, http.StatusOK))
	w.Write(x.Response.Body.Data())
}

func requestOf(req *http.Request, data []byte) *pact.Request {
	return &pact.Request{Method: req.Method, Path: req.URL.Path, Query: match.ParseQuery(req.URL.RawQuery), Headers: req.Header,
		Body: pact.NewBody(req.Header.Get("Content-Type"), bytes.Clone(data))}
}
