package connect_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// header is the suite's Header.
type header struct {
	Name  string   `json:"name"`
	Value []string `json:"value"`
}

func headersOf(h *connect.Header) []header {
	var all []header
	for name, values := range h.All() {
		all = append(all, header{Name: name, Value: values})
	}
	return all
}

func addHeaders(to *connect.Header, all []header) {
	for _, h := range all {
		for _, v := range h.Value {
			to.Add(h.Name, v)
		}
	}
}

// status is the suite's Error.
type status struct {
	Code    string            `json:"code"`
	Message *string           `json:"message"`
	Details []json.RawMessage `json:"details,omitempty"`
}

// toConnect returns the error that a handler answers with.
func (s *status) toConnect() error {
	var code connect.Code
	if err := code.UnmarshalText([]byte(strings.ToLower(strings.TrimPrefix(s.Code, "CODE_")))); err != nil {
		return err
	}
	message := ""
	if s.Message != nil {
		message = *s.Message
	}
	e := connect.NewError(code, message)
	for _, d := range s.Details {
		a := &anypb.Any{}
		if err := protojson.Unmarshal(d, a); err != nil {
			return err
		}
		e = e.WithDetail(&connect.ErrorDetail{Type: string(a.MessageName()), Value: a.Value})
	}
	return e
}

// statusOf returns what a caller has seen of err.
func statusOf(err error) (*status, error) {
	if err == nil {
		return nil, nil
	}
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		text := err.Error()
		return &status{Code: "CODE_UNKNOWN", Message: &text}, nil
	}
	text := e.Message()
	s := &status{Code: "CODE_" + strings.ToUpper(e.Code().String()), Message: &text}
	for _, d := range e.Details() {
		data, err := protojson.Marshal(&anypb.Any{TypeUrl: "type.googleapis.com/" + d.Type, Value: d.Value})
		if err != nil {
			return nil, err
		}
		s.Details = append(s.Details, data)
	}
	return s, nil
}

// frames are what the runner and the programs under test exchange: messages
// behind their length.
type frames struct {
	in  io.Reader
	out io.Writer
}

const maxFrame = 16 << 20

func (f frames) read(m proto.Message) error {
	var size [4]byte
	if _, err := io.ReadFull(f.in, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return errors.New("the runner's message is too large")
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(f.in, data); err != nil {
		return err
	}
	return proto.Unmarshal(data, m)
}

func (f frames) write(m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = f.out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}
