package contract

import (
	"encoding/base64"
	"errors"
	"net/http"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/contract/internal/match"
	"github.com/cleave-go/cleave/contract/internal/pact"
)

// UnaryCall is an expected call, complete with Returns or Fails.
type UnaryCall struct {
	given
	method method
}

// Unary expects a call of a procedure with exactly req, but where matchers say
// otherwise. It is recorded as HTTP with JSON, which any Pact tool verifies.
func Unary(c *Contract, procedure string, req proto.Message, matchers ...Matcher) *UnaryCall {
	c.t.Helper()
	u := &UnaryCall{given: given{c, &interaction{}}}
	u.in.Type = pact.HTTP
	var err error
	u.method, err = findMethod(procedure, nil)
	u.in.Description = u.method.name()
	u.fatal(procedure, err)
	u.fatal("request", u.method.checkMessages(req, nil))
	body, rules, err := example(req, matchers, false)
	u.fatal("request", err)
	u.in.Descriptors, err = u.method.describe()
	u.fatal("descriptors", err)
	u.in.Request = &pact.Request{Method: http.MethodPost, Path: procedure, Headers: jsonHeader(), Body: body, Rules: rules}
	return u
}

func jsonHeader() map[string][]string { return map[string][]string{"Content-Type": {jsonType}} }

// Given names a state that the provider sets up before, with its parameters: a
// struct or a map. It may be called again.
func (u *UnaryCall) Given(state string, params ...any) *UnaryCall {
	u.c.t.Helper()
	u.state(state, params)
	return u
}

// Named describes the interaction. Default: the method's name. Two interactions
// with the same states need two descriptions.
func (u *UnaryCall) Named(description string) *UnaryCall {
	u.in.Description = description
	return u
}

// Returns says what comes back: resp by type, but where matchers say otherwise.
func (u *UnaryCall) Returns(resp proto.Message, matchers ...Matcher) {
	u.c.t.Helper()
	u.fatal("response", u.method.checkMessages(nil, resp))
	body, rules, err := example(resp, matchers, true)
	u.fatal("response", err)
	u.respond(http.StatusOK, body, rules)
}

// Fails says that an error comes back: with the code and details of err, which
// is a *connect.Error, and any message.
func (u *UnaryCall) Fails(err error) {
	u.c.t.Helper()
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || e == nil {
		u.c.t.Fatalf("contract: %s: an error that callers see is a *connect.Error, not %v", u.in.Description, err)
		return
	}
	doc := map[string]any{"code": e.Code().String()}
	rules := match.Category{}
	if e.Message() != "" {
		doc["message"] = e.Message()
		rules = append(rules, match.NewEntry(match.Path{}.Field("message"), match.List{Rules: []match.Rule{{Name: "type"}}}))
	}
	if len(e.Details()) > 0 {
		details := []any{}
		for _, d := range e.Details() {
			details = append(details, map[string]any{"type": d.Type, "value": base64.RawStdEncoding.EncodeToString(d.Value)})
		}
		doc["details"] = details
	}
	u.respond(httpStatus(e.Code()), pact.Body{Kind: pact.JSON, Type: jsonType, Value: doc}, match.Rules{"body": rules})
}

func (u *UnaryCall) respond(status int, body pact.Body, rules match.Rules) {
	u.c.t.Helper()
	u.in.Response = &pact.Response{Status: status, Headers: jsonHeader(), Body: body, Rules: rules}
	u.c.add(u.in)
	u.c.calls.add(&exchange{Interaction: &u.in.Interaction, method: &u.method, used: func() { u.c.use(u.in) }})
}

// httpStatus is the status that the Connect protocol gives a code.
func httpStatus(code connect.Code) int {
	switch code {
	case connect.CodeCanceled:
		return 499
	case connect.CodeInvalidArgument, connect.CodeFailedPrecondition, connect.CodeOutOfRange:
		return http.StatusBadRequest
	case connect.CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeAlreadyExists, connect.CodeAborted:
		return http.StatusConflict
	case connect.CodePermissionDenied:
		return http.StatusForbidden
	case connect.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case connect.CodeUnimplemented:
		return http.StatusNotImplemented
	case connect.CodeUnavailable:
		return http.StatusServiceUnavailable
	case connect.CodeUnauthenticated:
		return http.StatusUnauthorized
	}
	return http.StatusInternalServerError
}

// missed reports a call that nothing expects.
func (c *Contract) missed(what, differences string) {
	c.t.Helper()
	c.t.Errorf("contract: the test calls %s of %s otherwise than it says:\n%s", what, c.provider, differences)
}
