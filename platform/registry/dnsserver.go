package registry

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// dnsServer answers over UDP and TCP on the same port.
type dnsServer struct {
	zone   *Zone
	udp    net.PacketConn
	tcp    net.Listener
	logger *slog.Logger
}

// listenDNS opens both sockets; with port 0 both get the same free port.
func listenDNS(addr string, z *Zone, logger *slog.Logger) (*dnsServer, error) {
	var err error
	for range 10 { // a free TCP port may be taken for UDP
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", addr); err != nil {
			return nil, err
		}
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return &dnsServer{zone: z, udp: udp, tcp: tcp, logger: logger}, nil
		}
		tcp.Close()
		if tcp.Addr().String() == addr {
			break
		}
	}
	return nil, err
}

func (d *dnsServer) close() {
	d.udp.Close()
	d.tcp.Close()
}

func (d *dnsServer) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer context.AfterFunc(ctx, d.close)()
	running.Go(func() { d.serveTCP(ctx) })
	buf := make([]byte, 4096)
	for {
		n, from, err := d.udp.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			d.logger.Debug("dns read", "error", err) // such as an ICMP error of an earlier answer
			continue
		}
		if out := d.zone.Answer(buf[:n], false); out != nil {
			d.udp.WriteTo(out, from) // UDP: the client asks again
		}
	}
}

// maxTCP bounds the connections, idleTCP how long one may say nothing.
const (
	maxTCP  = 128
	idleTCP = 5 * time.Second
)

func (d *dnsServer) serveTCP(ctx context.Context) {
	slots := make(chan struct{}, maxTCP)
	var open sync.WaitGroup
	defer open.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := d.tcp.Accept()
		if err != nil {
			<-slots
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			d.logger.Error("dns accept", "error", err)
			pause(ctx, 50*time.Millisecond)
			continue
		}
		open.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			d.converse(conn)
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// converse answers one request after the other on a connection.
func (d *dnsServer) converse(conn net.Conn) {
	buf := make([]byte, 2, 4096)
	for {
		conn.SetDeadline(time.Now().Add(idleTCP))
		if _, err := io.ReadFull(conn, buf[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(buf[:2]))
		if n > cap(buf) { // no question is that long
			return
		}
		if _, err := io.ReadFull(conn, buf[:n]); err != nil {
			return
		}
		out := d.zone.Answer(buf[:n], true)
		if out == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}
