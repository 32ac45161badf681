package connect_test

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
)

// request is what all of the suite's request messages have.
type request struct {
	ResponseDefinition *plan `json:"responseDefinition"`
	FullDuplex         bool  `json:"fullDuplex"`
}

// plan is how the suite wants to be answered.
type plan struct {
	ResponseHeaders  []header `json:"responseHeaders"`
	ResponseTrailers []header `json:"responseTrailers"`
	ResponseData     oneOrAll `json:"responseData"`
	ResponseDelayMs  int      `json:"responseDelayMs"`
	Error            *status  `json:"error"`
}

// oneOrAll is a field that is repeated in one message and not in another. Its
// texts stay base64.
type oneOrAll []string

func (o *oneOrAll) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*o = oneOrAll{""}
		return json.Unmarshal(data, &(*o)[0])
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// payload is the suite's ConformancePayload.
type payload struct {
	Data string    `json:"data,omitempty"`
	Info *received `json:"requestInfo,omitempty"`
}

// received is what the server tells of the request.
type received struct {
	RequestHeaders []header          `json:"requestHeaders,omitempty"`
	TimeoutMs      *string           `json:"timeoutMs,omitempty"`
	Requests       []json.RawMessage `json:"requests,omitempty"`
	Get            *getInfo          `json:"connectGetInfo,omitempty"`
}

type getInfo struct {
	QueryParams []header `json:"queryParams"`
}

// exchange is one call that the server answers by plan.
type exchange struct {
	ctx        context.Context
	spec       connect.Spec
	stream     connect.ServerStream
	info       *connect.CallInfo
	plan       *plan
	fullDuplex bool
	timeout    *string           // the caller's, in ms, as the handler was given it
	requests   []json.RawMessage // since the last answer
	sent       int
}

func newExchange(ctx context.Context, spec connect.Spec, stream connect.ServerStream) *exchange {
	info, _ := connect.CallInfoForServerContext(ctx)
	c := &exchange{ctx: ctx, spec: spec, stream: stream, info: info}
	if deadline, ok := ctx.Deadline(); ok {
		set, noted := ctx.Value(timeoutKey{}).(bool)
		if set || !noted && time.Until(deadline) < 29*time.Second { // grpcwire notes nothing; the server's own is 30 s
			left := strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)
			c.timeout = &left
		}
	}
	return c
}

// receive takes the next request. The first brings the plan, and the headers
// go where they are to be sent from.
func (c *exchange) receive() (request, error) {
	var r request
	m := inputOf(c.spec)
	if err := c.stream.Receive(m); err != nil {
		return r, err
	}
	var raw json.RawMessage
	if err := read(m, &raw); err != nil {
		return r, err
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return r, err
	}
	echo, err := anyOf(string(m.ProtoReflect().Descriptor().Name()), raw)
	if err != nil {
		return r, err
	}
	c.requests = append(c.requests, echo)
	if c.plan == nil {
		if c.plan = r.ResponseDefinition; c.plan == nil {
			c.plan = &plan{}
		}
		addHeaders(c.info.ResponseHeader(), c.plan.ResponseHeaders)
		addHeaders(c.info.ResponseTrailer(), c.plan.ResponseTrailers)
	}
	return r, nil
}

// answerOnce gives the one answer that is due.
func (c *exchange) answerOnce() error {
	if c.plan == nil {
		c.plan = &plan{}
	}
	if err := pause(c.ctx, c.plan.ResponseDelayMs); err != nil {
		return err
	}
	if c.plan.Error != nil {
		return c.fail()
	}
	p := payload{Info: c.received(true)}
	if len(c.plan.ResponseData) > 0 {
		p.Data = c.plan.ResponseData[0]
	}
	return c.send(p)
}

// answerNext gives the next of several answers; the first tells of everything,
// the others in full duplex of what was asked since.
func (c *exchange) answerNext() error {
	if c.sent == 0 {
		if err := c.stream.SendHeaders(); err != nil {
			return err
		}
	}
	if err := pause(c.ctx, c.plan.ResponseDelayMs); err != nil {
		return err
	}
	p := payload{Data: c.plan.ResponseData[c.sent]}
	if c.sent == 0 || len(c.requests) > 0 {
		p.Info = c.received(c.sent == 0)
	}
	c.sent, c.requests = c.sent+1, nil
	return c.send(p)
}

func (c *exchange) answerRest() error {
	if c.plan == nil {
		return nil
	}
	for c.sent < len(c.plan.ResponseData) {
		if err := c.answerNext(); err != nil {
			return err
		}
	}
	if c.plan.Error != nil {
		return c.fail()
	}
	return nil
}

func (c *exchange) send(p payload) error {
	m := outputOf(c.spec)
	if err := write(map[string]payload{"payload": p}, m); err != nil {
		return err
	}
	return c.stream.Send(m)
}

// fail ends the call with the error planned, which tells of the request if no
// answer has.
func (c *exchange) fail() error {
	e := *c.plan.Error
	if c.sent == 0 {
		d, err := anyOf("ConformancePayload.RequestInfo", c.received(true))
		if err != nil {
			return err
		}
		e.Details = append(e.Details, d)
	}
	return e.toConnect()
}

func (c *exchange) received(all bool) *received {
	r := &received{Requests: c.requests}
	if !all {
		return r
	}
	r.RequestHeaders, r.TimeoutMs = headersOf(c.info.RequestHeader()), c.timeout
	if info, ok := connecthttp.ServerInfoForContext(c.ctx); ok {
		if query := info.HTTPGetQueryParams(); len(query) > 0 {
			r.Get = &getInfo{}
			for name, values := range query {
				r.Get.QueryParams = append(r.Get.QueryParams, header{Name: name, Value: values})
			}
		}
	}
	return r
}
