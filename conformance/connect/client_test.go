package connect_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// call is one call that the runner wants made.
type call struct {
	TestName        string            `json:"testName"`
	Target          target            `json:"-"`
	Method          string            `json:"method"`
	StreamType      string            `json:"streamType"`
	RequestHeaders  []header          `json:"requestHeaders"`
	RequestMessages []json.RawMessage `json:"requestMessages"`
	TimeoutMs       *int              `json:"timeoutMs"`
	RequestDelayMs  int               `json:"requestDelayMs"`
	Cancel          struct {
		BeforeCloseSend   *struct{} `json:"beforeCloseSend"`
		AfterCloseSendMs  *int      `json:"afterCloseSendMs"`
		AfterNumResponses int       `json:"afterNumResponses"`
	} `json:"cancel"`
}

// result is what a caller has seen of a call.
type result struct {
	ResponseHeaders   []header          `json:"responseHeaders,omitempty"`
	Payloads          []json.RawMessage `json:"payloads,omitempty"`
	Error             *status           `json:"error,omitempty"`
	ResponseTrailers  []header          `json:"responseTrailers,omitempty"`
	NumUnsentRequests int               `json:"numUnsentRequests,omitempty"`
}

// atOnce bounds the calls under way.
const atOnce = 8

// callSuite is the client under test: it makes the calls that the runner asks
// for through the whole chain of rpi.Remote, or that of rpi.Wire to a fixed
// address.
func callSuite(s *schema, f frames, role string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	remotes := newRemotes(ctx, role)
	var (
		calls  sync.WaitGroup
		places = make(chan struct{}, atOnce)
		mu     sync.Mutex // guards writing and failed
		failed error
	)
	for {
		asked := s.message("ClientCompatRequest")
		if err := f.read(asked); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		places <- struct{}{}
		calls.Go(func() {
			defer func() { <-places }()
			told := s.message("ClientCompatResponse")
			err := answerTo(ctx, s, remotes, asked, told)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = f.write(told)
			}
			failed = errors.Join(failed, err)
		})
	}
	calls.Wait()
	return failed
}

func answerTo(ctx context.Context, s *schema, remotes *remotes, asked, told proto.Message) error {
	var c call
	if err := read(asked, &c); err != nil {
		return err
	}
	if err := read(asked, &c.Target); err != nil {
		return err
	}
	answer := map[string]any{"testName": c.TestName}
	if r, err := c.make(ctx, s, remotes); err != nil {
		answer["error"] = map[string]string{"message": err.Error()}
	} else {
		answer["response"] = r
	}
	return write(answer, told)
}

// make makes the call. An error says that the test could not be carried out.
func (c *call) make(ctx context.Context, s *schema, remotes *remotes) (*result, error) {
	method, ok := s.methods[c.Method]
	if !ok {
		return nil, errors.New("no method " + c.Method)
	}
	var messages []proto.Message
	for _, raw := range c.RequestMessages {
		a := &anypb.Any{}
		if err := protojson.Unmarshal(raw, a); err != nil {
			return nil, err
		}
		m, err := a.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	client, err := remotes.client(c.Target)
	if err != nil {
		return nil, err
	}
	if c.TimeoutMs != nil {
		timed, cancel := context.WithTimeout(ctx, time.Duration(*c.TimeoutMs)*time.Millisecond)
		defer cancel()
		ctx = timed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, info := connect.NewClientContext(ctx)
	addHeaders(info.RequestHeader(), c.RequestHeaders)
	m := &making{call: c, ctx: ctx, cancel: cancel, client: client, spec: specOf(method), messages: messages}
	err = m.run()
	if m.untestable != nil {
		return nil, m.untestable
	}
	if m.result.Error, err = statusOf(err); err != nil {
		return nil, err
	}
	m.result.ResponseHeaders, m.result.ResponseTrailers = headersOf(info.ResponseHeader()), headersOf(info.ResponseTrailer())
	return &m.result, nil
}

// making is a call under way.
type making struct {
	*call
	ctx        context.Context
	cancel     context.CancelFunc
	client     *connect.Client
	spec       connect.Spec
	messages   []proto.Message
	result     result
	untestable error
}

// run makes the call as generated code would and returns its error.
func (m *making) run() error {
	switch m.spec.StreamType {
	case connect.StreamTypeUnary:
		m.cancelAfterSend()
		res := outputOf(m.spec)
		if err := m.client.CallUnary(m.ctx, m.spec, m.messages[0], res); err != nil {
			return err
		}
		m.keep(res)
		return nil
	case connect.StreamTypeServer:
		stream, err := m.client.CallServerStream(m.ctx, m.spec, m.messages[0])
		if err != nil {
			return err
		}
		defer stream.Close() // the verdict is Receive's
		m.cancelAfterSend()
		return m.receiveAll(stream)
	}
	stream, err := m.client.CallClientStream(m.ctx, m.spec)
	if err != nil {
		return err
	}
	defer stream.Close() // the verdict is Receive's
	if err := m.sendAll(stream); err != nil {
		return err
	}
	if m.Cancel.BeforeCloseSend != nil {
		m.cancel()
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	m.cancelAfterSend()
	if m.spec.StreamType == connect.StreamTypeClient {
		return m.receive(stream)
	}
	return m.receiveAll(stream)
}

// cancelAfterSend gives up some time after the last request.
func (m *making) cancelAfterSend() {
	if after := m.Cancel.AfterCloseSendMs; after != nil {
		time.AfterFunc(time.Duration(*after)*time.Millisecond, m.cancel)
	}
}

// sendAll sends the requests; in full duplex it takes an answer to each. That
// the server has ended the call shows in what is received next.
func (m *making) sendAll(stream connect.ClientStream) error {
	fullDuplex := m.StreamType == "STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM"
	for i, msg := range m.messages {
		time.Sleep(time.Duration(m.RequestDelayMs) * time.Millisecond)
		if err := stream.Send(msg); errors.Is(err, io.EOF) {
			m.result.NumUnsentRequests = len(m.messages) - i
			return nil
		}
		if !fullDuplex {
			continue
		}
		if err := m.receive(stream); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (m *making) receiveAll(stream connect.ClientStream) error {
	for {
		if err := m.receive(stream); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (m *making) receive(stream connect.ClientStream) error {
	res := outputOf(m.spec)
	if err := stream.Receive(res); err != nil {
		return err
	}
	m.keep(res)
	if len(m.result.Payloads) == m.Cancel.AfterNumResponses {
		m.cancel()
	}
	return nil
}

func (m *making) keep(res proto.Message) {
	var answer struct {
		Payload json.RawMessage `json:"payload"`
	}
	if err := read(res, &answer); err != nil {
		m.untestable = err
		return
	}
	if answer.Payload == nil {
		answer.Payload = json.RawMessage("{}")
	}
	m.result.Payloads = append(m.result.Payloads, answer.Payload)
}
