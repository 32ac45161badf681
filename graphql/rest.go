package graphql

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vektah/gqlparser/v2/ast"
)

// REST serves one query, fixed here, as a resource. The variables of document
// come from the names in pattern's path ("GET /orders/{id}") and from the URL's
// query. The answer is the value of the one field that document selects, with
// a member "_missing" that lists the failures if parts of it are missing; when
// it is missing as a whole, a problem document (RFC 9457) with the fitting status.
//
// The handler must be mounted on an http.ServeMux under pattern.
func (s *Schema) REST(pattern, document string, o *HandlerOptions) (http.Handler, error) {
	p, errs := s.plan(context.Background(), Request{Query: document})
	if errs != nil {
		return nil, fmt.Errorf("%s: %w", pattern, errs[0])
	}
	if p.op.Operation != ast.Query || len(p.root.fields) != 1 || p.root.fields[0].def == nil {
		return nil, fmt.Errorf("%s: the document must be a query of one field", pattern)
	}
	if method, _, ok := strings.Cut(pattern, " "); !ok || method != http.MethodGet {
		return nil, fmt.Errorf("%s: a query is served under GET", pattern)
	}
	v := &view{s: s, p: p, document: document, options: o.withDefaults()}
	return v, nil
}

// view is one REST resource.
type view struct {
	s        *Schema
	p        *plan
	document string
	options  HandlerOptions
}

func (v *view) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), v.options.Timeout)
	defer cancel()
	resp := v.s.execute(ctx, Request{Query: v.document, Variables: v.variables(r)}, true)
	if v.options.Done != nil {
		v.options.Done(ctx, w.Header(), resp)
	}
	key := v.p.root.fields[0].key
	var data map[string]json.RawMessage
	_ = json.Unmarshal(resp.Data, &data) // our own bytes; null leaves data empty
	value := data[key]
	if value == nil || string(value) == "null" {
		WriteProblem(w, 0, problemOf(resp))
		return
	}
	if len(resp.Errors) > 0 && value[0] == '{' && len(value) > 2 {
		missing, _ := json.Marshal(below(resp.Errors))
		value = fmt.Appendf(value[:len(value)-1:len(value)-1], `,"_missing":%s}`, missing)
	}
	h := w.Header()
	h.Set("Content-Type", typeJSON+"; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(value)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.Write(value)
}

// variables reads path and query by the variables' types: numbers and booleans
// are written as JSON would have them.
func (v *view) variables(r *http.Request) map[string]any {
	vars := map[string]any{}
	query := r.URL.Query()
	for _, def := range v.p.op.VariableDefinitions {
		text := r.PathValue(def.Variable)
		if text == "" && query.Has(def.Variable) {
			text = query.Get(def.Variable)
		} else if text == "" {
			continue
		}
		vars[def.Variable] = fromText(strings.ToValidUTF8(text, string(utf8.RuneError)), def.Type.NamedType)
	}
	return vars
}

func fromText(text, typ string) any {
	switch typ {
	case "Int", "Float":
		return json.Number(text)
	case "Boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	}
	return text
}

// below gives each error its path inside the resource.
func below(errs []*Error) []*Error {
	out := make([]*Error, len(errs))
	for i, e := range errs {
		c := *e
		c.Locations = nil
		if len(c.Path) > 0 {
			c.Path = c.Path[1:]
		}
		out[i] = &c
	}
	return out
}

func problemOf(resp *Response) *Error {
	if len(resp.Errors) == 0 {
		return Errorf(NotFound, "there is no such resource")
	}
	return resp.Errors[0]
}

// WriteProblem answers with a problem document (RFC 9457) for e. A status of 0
// means the one that fits the code.
func WriteProblem(w http.ResponseWriter, status int, e *Error) {
	if status == 0 {
		status = e.Code.Status()
	}
	problem := map[string]any{"title": http.StatusText(status), "status": status, "detail": e.Message, "code": e.Code}
	for name, value := range map[string]string{"field": e.Field, "service": e.Service, "reason": e.Reason} {
		if value != "" {
			problem[name] = value
		}
	}
	body, err := json.Marshal(problem)
	if err != nil {
		body = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

// Status is the HTTP status that fits the code where a status has to say it.
func (c Code) Status() int {
	switch c {
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case BadUserInput:
		return http.StatusBadRequest
	case NotFound:
		return http.StatusNotFound
	case Conflict:
		return http.StatusConflict
	case RateLimited:
		return http.StatusTooManyRequests
	case PayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case Unavailable, NotYet:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
