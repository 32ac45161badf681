package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/internal/echoapi"
)

// Raw frames are what multiplexing costs at least: length, number, protobuf; no
// headers, no status, no flow control, no limits. No wire to use.

// coalescer writes what many have added with one system call.
type coalescer struct {
	nc   net.Conn
	wake chan struct{}
	mu   sync.Mutex
	out  []byte
	busy bool
}

func newCoalescer(nc net.Conn) *coalescer {
	c := &coalescer{nc: nc, wake: make(chan struct{}, 1)}
	go func() {
		var buf []byte
		for range c.wake {
			runtime.Gosched()
			for {
				c.mu.Lock()
				if buf, c.out = c.out, buf[:0]; len(buf) == 0 {
					c.busy = false
					c.mu.Unlock()
					break
				}
				c.mu.Unlock()
				if _, err := nc.Write(buf); err != nil {
					return
				}
			}
		}
	}()
	return c
}

func (c *coalescer) send(id uint32, m proto.Message) error {
	c.mu.Lock()
	at := len(c.out)
	out, err := proto.MarshalOptions{}.MarshalAppend(append(c.out, 0, 0, 0, 0, 0, 0, 0, 0), m)
	if err == nil {
		c.out = out
		binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-8))
		binary.BigEndian.PutUint32(out[at+4:], id)
	}
	wake := !c.busy
	c.busy = true
	c.mu.Unlock()
	if wake {
		c.wake <- struct{}{}
	}
	return err
}

func readFrames(nc net.Conn, each func(id uint32, data []byte)) error {
	r := bufio.NewReaderSize(nc, 64<<10)
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		data := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(r, data); err != nil {
			return err
		}
		each(binary.BigEndian.Uint32(head[4:]), data)
	}
}

func framesServe(ln net.Listener) error {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		w := newCoalescer(nc)
		go func() {
			_ = readFrames(nc, func(id uint32, data []byte) {
				go func() {
					var req echoapi.EchoRequest
					if proto.Unmarshal(data, &req) == nil {
						res, _ := echoServer{}.Echo(context.Background(), &req)
						_ = w.send(id, res)
					}
				}()
			})
		}()
	}
}

func framesDial(addr string) (Caller, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := newCoalescer(nc)
	var mu sync.Mutex
	var last uint32
	waiting := map[uint32]chan []byte{}
	go func() {
		_ = readFrames(nc, func(id uint32, data []byte) {
			mu.Lock()
			ch := waiting[id]
			delete(waiting, id)
			mu.Unlock()
			ch <- data
		})
	}()
	return func(ctx context.Context, req *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		ch := make(chan []byte, 1)
		mu.Lock()
		last++
		id := last
		waiting[id] = ch
		mu.Unlock()
		if err := w.send(id, req); err != nil {
			return nil, err
		}
		select {
		case data := <-ch:
			res := &echoapi.EchoResponse{}
			return res, proto.Unmarshal(data, res)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, nil
}
