package graphql

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HandlerOptions adjusts how a schema is served over HTTP.
type HandlerOptions struct {
	// MaxBody is the largest request body in bytes. Default: 1 MiB.
	MaxBody int64
	// Timeout is how long a request may take. Default: 30 s.
	Timeout time.Duration
	// Done sees each response before it is written: it may add to the header and
	// to the response's extensions. Default: none.
	Done func(ctx context.Context, h http.Header, r *Response)
}

func (o *HandlerOptions) withDefaults() HandlerOptions {
	var out HandlerOptions
	if o != nil {
		out = *o
	}
	if out.MaxBody <= 0 {
		out.MaxBody = 1 << 20
	}
	if out.Timeout <= 0 {
		out.Timeout = 30 * time.Second
	}
	return out
}

// The two media types of GraphQL over HTTP. Under the second, requests that
// cannot be executed answer with a status of their own.
const (
	typeJSON    = "application/json"
	typeGraphQL = "application/graphql-response+json"
)

// Handler serves the schema as GraphQL over HTTP: POST with a JSON body, and
// GET for queries.
func (s *Schema) Handler(o *HandlerOptions) http.Handler {
	options := o.withDefaults()
	answer := func(ctx context.Context, w http.ResponseWriter, status int, media string, resp *Response) {
		if options.Done != nil {
			options.Done(ctx, w.Header(), resp)
		}
		write(w, status, media, resp)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, ok := accepted(r.Header.Values("Accept"))
		if !ok {
			e := badInput("Accept", "only %s and %s are served", typeGraphQL, typeJSON)
			answer(r.Context(), w, http.StatusNotAcceptable, typeJSON, &Response{Errors: []*Error{e}})
			return
		}
		req, status, e := readRequest(w, r, options.MaxBody)
		if e != nil {
			if status == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", "GET, POST")
			}
			answer(r.Context(), w, status, typeJSON, &Response{Errors: []*Error{e}})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), options.Timeout)
		defer cancel()
		resp := s.execute(ctx, req, r.Method == http.MethodGet)
		status = statusOf(resp, media)
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "POST")
		}
		answer(ctx, w, status, media, resp)
	})
}

// statusOf is the response's status under media.
func statusOf(resp *Response, media string) int {
	if resp.Data != nil || len(resp.Errors) == 0 {
		return http.StatusOK
	}
	switch {
	case errors.Is(resp.Errors[0].Cause, errNeedsPost):
		return http.StatusMethodNotAllowed
	case resp.Errors[0].Code == PayloadTooLarge:
		return http.StatusRequestEntityTooLarge
	case media == typeJSON:
		return http.StatusOK
	}
	return http.StatusBadRequest
}

// accepted chooses the response's media type; a client that does not say gets JSON.
func accepted(accept []string) (string, bool) {
	best, bestQ := "", 0.0
	asked := false
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		asked = true
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				q = 0
			}
		}
		if charset := strings.ToLower(params["charset"]); charset != "" && charset != "utf-8" && charset != "utf8" {
			continue
		}
		switch media {
		case "*/*", "application/*":
			media = typeJSON
		case typeJSON, typeGraphQL:
		default:
			continue
		}
		if q > bestQ {
			best, bestQ = media, q
		}
	}
	if !asked {
		return typeJSON, true
	}
	return best, best != ""
}

func readRequest(w http.ResponseWriter, r *http.Request, maxBody int64) (Request, int, *Error) {
	switch r.Method {
	case http.MethodGet:
		return fromQuery(r)
	case http.MethodPost:
	default:
		return Request{}, http.StatusMethodNotAllowed, badInput("", "only GET and POST are served")
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != typeJSON {
		return Request{}, http.StatusUnsupportedMediaType, badInput("Content-Type", "must be %s", typeJSON)
	}
	if charset := strings.ToLower(params["charset"]); charset != "" && charset != "utf-8" && charset != "utf8" {
		return Request{}, http.StatusUnsupportedMediaType, badInput("Content-Type", "the charset must be utf-8")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			// A client that is still writing would see a broken pipe instead of the answer.
			_, _ = io.CopyN(io.Discard, r.Body, maxIgnored)
			return Request{}, http.StatusRequestEntityTooLarge, Errorf(PayloadTooLarge, "the body is larger than %d bytes", maxBody)
		}
		return Request{}, http.StatusBadRequest, badInput("", "the body could not be read")
	}
	req, e := decodeRequest(body)
	return req, http.StatusBadRequest, e
}

// maxIgnored is how much of a body that is too large is read and thrown away.
const maxIgnored = 32 << 20

// decodeRequest reads a JSON request. Members it does not know are left alone.
func decodeRequest(body []byte) (Request, *Error) {
	var raw struct {
		Query         json.RawMessage `json:"query"`
		OperationName json.RawMessage `json:"operationName"`
		Variables     json.RawMessage `json:"variables"`
		Extensions    json.RawMessage `json:"extensions"`
	}
	var req Request
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '[' {
		return req, badInput("", "batches of requests are not served: send one")
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return req, badInput("", "the body is not a JSON object: %v", err)
	}
	if raw.Query == nil {
		return req, badInput("query", "is missing")
	}
	if err := json.Unmarshal(raw.Query, &req.Query); err != nil || string(raw.Query) == "null" {
		return req, badInput("query", "must be a string")
	}
	if raw.OperationName != nil && json.Unmarshal(raw.OperationName, &req.OperationName) != nil {
		return req, badInput("operationName", "must be a string")
	}
	if raw.Extensions != nil {
		var extensions map[string]any
		if json.Unmarshal(raw.Extensions, &extensions) != nil {
			return req, badInput("extensions", "must be an object")
		}
	}
	var e *Error
	req.Variables, e = decodeVariables(raw.Variables)
	return req, e
}

func decodeVariables(raw []byte) (map[string]any, *Error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var vars map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&vars); err != nil {
		return nil, badInput("variables", "must be an object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, badInput("variables", "must be one object")
	}
	return vars, nil
}

func fromQuery(r *http.Request) (Request, int, *Error) {
	values := r.URL.Query()
	req := Request{Query: values.Get("query"), OperationName: values.Get("operationName")}
	if !values.Has("query") {
		return req, http.StatusBadRequest, badInput("query", "is missing")
	}
	var e *Error
	if text := values.Get("variables"); text != "" {
		req.Variables, e = decodeVariables([]byte(text))
	}
	if text := values.Get("extensions"); e == nil && text != "" && json.Unmarshal([]byte(text), new(map[string]any)) != nil {
		e = badInput("extensions", "must be an object")
	}
	return req, http.StatusBadRequest, e
}

// WriteError answers a request that was refused before it was executed.
func WriteError(w http.ResponseWriter, status int, e *Error) {
	write(w, status, typeJSON, &Response{Errors: []*Error{e}})
}

func write(w http.ResponseWriter, status int, media string, r *Response) {
	body, err := r.MarshalJSON()
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}]}`)
	}
	h := w.Header()
	h.Set("Content-Type", media+"; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	w.Write(body)
}

// MarshalJSON writes the response: errors first, data only if anything was executed.
func (r *Response) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, len(r.Data)+64), '{')
	if len(r.Errors) > 0 {
		list, err := json.Marshal(r.Errors)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, `"errors":`...), list...), ',')
	}
	if r.Data != nil {
		b = append(append(append(b, `"data":`...), r.Data...), ',')
	}
	if len(r.Extensions) > 0 {
		ext, err := json.Marshal(r.Extensions)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, `"extensions":`...), ext...), ',')
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}'), nil
}
