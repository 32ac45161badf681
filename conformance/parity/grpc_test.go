package parity_test

import (
	"context"
	"errors"
	"io"
	"net/textproto"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/internal/paritytest"
)

func TestAForeignClientCannotBeToldApart(t *testing.T) {
	t.Parallel()
	bindings := paritytest.Bindings()[:1]
	if bindings[0].Name != "local" {
		t.Fatalf("the first binding is %s", bindings[0].Name)
	}
	paritytest.Run(t, append(bindings, paritytest.Binding{
		Name: "grpc-go", Traits: paritytest.Foreign | paritytest.GRPC, Foreign: dial,
	}))
}

func dial(t testing.TB, s *connect.Server) paritytest.Exchange {
	conn, err := grpc.NewClient(paritytest.Serve(t, s), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(ctx context.Context, method string, header map[string][]string, requests []*echoapi.EchoRequest, most int) (a paritytest.Answer) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for k, values := range header {
			for _, v := range values {
				ctx = metadata.AppendToOutgoingContext(ctx, k, plain(t, k, v))
			}
		}
		path := "/" + echoapi.EchoServiceName + "/" + method
		var head, tail metadata.MD
		if method == "Echo" {
			res := &echoapi.EchoResponse{}
			if a.Err = conn.Invoke(ctx, path, requests[0], res, grpc.Header(&head), grpc.Trailer(&tail)); a.Err == nil {
				a.Responses = append(a.Responses, res)
			}
		} else {
			a.Responses, a.Err = stream(ctx, conn, path, requests, most, &head, &tail)
		}
		a.Err = asConnect(a.Err)
		a.Header, a.Trailer = canonical(head), canonical(tail)
		return a
	}
}

func stream(ctx context.Context, conn *grpc.ClientConn, path string, requests []*echoapi.EchoRequest, most int, head, tail *metadata.MD) ([]*echoapi.EchoResponse, error) {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, path)
	if err != nil {
		return nil, err
	}
	for _, r := range requests {
		if err := s.SendMsg(r); errors.Is(err, io.EOF) {
			break // the answer tells why
		} else if err != nil {
			return nil, err
		}
	}
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	defer func() { *head, _ = s.Header(); *tail = s.Trailer() }()
	var got []*echoapi.EchoResponse
	for len(got) < most {
		res := &echoapi.EchoResponse{}
		if err := s.RecvMsg(res); errors.Is(err, io.EOF) {
			return got, nil
		} else if err != nil {
			return got, err
		}
		got = append(got, res)
	}
	return got, nil
}

// asConnect says in connect's words what a status says.
func asConnect(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	if s.Code() == codes.OK {
		return err
	}
	e := connect.NewError(connect.Code(s.Code()), s.Message())
	for _, d := range s.Proto().GetDetails() {
		e = e.WithDetail(&connect.ErrorDetail{Type: strings.TrimPrefix(d.GetTypeUrl(), "type.googleapis.com/"), Value: d.GetValue()})
	}
	return e
}

func canonical(md metadata.MD) map[string][]string {
	m := map[string][]string{}
	for k, v := range md {
		m[textproto.CanonicalMIMEHeaderKey(k)] = v
	}
	return m
}

// plain returns v as grpc-go wants it: it encodes binary headers itself.
func plain(t testing.TB, key, v string) string {
	if !strings.HasSuffix(strings.ToLower(key), "-bin") {
		return v
	}
	data, err := connect.DecodeBinaryHeader(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
