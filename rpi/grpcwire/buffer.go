package grpcwire

import (
	"encoding/binary"
	"sync"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
)

// buffer holds bytes of messages and is used again.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, 1<<10)} }}

func getBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.b = b.b[:0]
	return b
}

func (b *buffer) free() {
	if b != nil && cap(b.b) <= 64<<10 {
		buffers.Put(b)
	}
}

const prefixLen = 5

// encode appends msg to b, behind the prefix that gRPC gives each message.
func (b *buffer) encode(msg any) error {
	m, ok := msg.(proto.Message)
	if !ok {
		return connect.Errorf(connect.CodeInternal, "marshal message: %T is not a proto.Message", msg)
	}
	at := len(b.b)
	data, err := proto.MarshalOptions{}.MarshalAppend(append(b.b, 0, 0, 0, 0, 0), m)
	if err != nil {
		return connect.Errorf(connect.CodeInternal, "marshal message: %s", err).WithCause(err)
	}
	b.b = data
	binary.BigEndian.PutUint32(data[at+1:], uint32(len(data)-at-prefixLen))
	return nil
}

func decode(data []byte, dst any) error {
	m, ok := dst.(proto.Message)
	if !ok {
		return connect.Errorf(connect.CodeInternal, "unmarshal message: %T is not a proto.Message", dst)
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return connect.Errorf(connect.CodeInvalidArgument, "unmarshal message: %s", err).WithCause(err)
	}
	return nil
}
