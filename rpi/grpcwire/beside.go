package grpcwire

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
)

// Beside returns ln without the connections that a Transport makes: those the
// server takes, until Shutdown. All others, HTTP/1.1 as well as HTTP/2 of
// other clients, are for whoever serves what Beside returns, such as an
// http.Server, whose time limits hold until a connection has said what it is.
//
//	server := grpcwire.NewServer(calls, nil)
//	go httpServer.Serve(server.Beside(listener))
func (s *Server) Beside(ln net.Listener) net.Listener { return &beside{ln, s} }

type beside struct {
	net.Listener
	s *Server
}

func (b *beside) Accept() (net.Conn, error) {
	nc, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &undecided{Conn: nc, s: b.s}, nil
}

// openingLen is how many of the first bytes of a connection tell whether a
// Transport has made it: the preface and the first of its settings.
const openingLen = len(preface) + frameHeaderLen + 6

// opens reports whether a Transport begins like that. It is undecided as long as
// more bytes have to tell.
func opens(first []byte) (yes, undecided bool) {
	n := min(len(first), len(preface))
	if string(first[:n]) != preface[:n] {
		return false, false
	}
	rest := first[n:]
	if len(rest) < frameHeaderLen {
		return false, true
	}
	length := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
	if length < 6 || length > maxFrameLen || rest[3] != frameSettings || rest[4] != 0 || binary.BigEndian.Uint32(rest[5:]) != 0 {
		return false, false
	}
	if len(rest) < frameHeaderLen+6 {
		return false, true
	}
	return binary.BigEndian.Uint16(rest[frameHeaderLen:]) == settingKin, false
}

// undecided is a connection whose first bytes are looked at as they are read. If
// the server takes it, its reader sees it end.
type undecided struct {
	net.Conn
	s       *Server
	first   [openingLen]byte
	n, at   int  // of first: read, and handed on
	decided bool // the reader's
	taken   atomic.Bool
}

// Read is called by one goroutine at a time.
func (u *undecided) Read(p []byte) (int, error) {
	for !u.decided {
		n, err := u.Conn.Read(u.first[u.n:])
		if u.n += n; u.n == 0 {
			return 0, err
		}
		yes, more := opens(u.first[:u.n])
		if u.decided = !more || err != nil; yes {
			u.hand()
		}
	}
	if u.taken.Load() {
		return 0, io.EOF
	}
	if u.at < u.n {
		n := copy(p, u.first[u.at:u.n])
		u.at += n
		return n, nil
	}
	return u.Conn.Read(p)
}

func (u *undecided) hand() {
	u.taken.Store(true)
	if c := u.s.enter(u.Conn); c != nil {
		go u.s.serve(c, u.first[:u.n])
	}
}

// Close leaves a connection alone that the server has taken.
func (u *undecided) Close() error {
	if u.taken.Load() {
		return nil
	}
	return u.Conn.Close()
}

// ReadFrom has files sent as if there were nothing in between.
func (u *undecided) ReadFrom(r io.Reader) (int64, error) { return io.Copy(u.Conn, r) }
