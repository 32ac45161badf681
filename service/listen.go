package service

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// listener is one socket and the services behind it.
type listener struct {
	name   string // "business", or the service it belongs to
	socket net.Listener
	own    *acceptor // socket, unless others accept from it too
	hosts  []*Host
	server *http.Server
	fast   *grpcwire.Server // for those who call by it; nil: HTTP only
	served chan struct{}    // closed when nothing more is accepted

	closing atomic.Bool
	mu      sync.Mutex
	open    map[net.Conn]*connection // guarded by mu
}

// listen opens the sockets and puts the services behind them.
func (p *process) listen() error {
	inherited, err := p.inherited()
	if err != nil {
		return err
	}
	var shared []*Host
	for _, h := range p.hosts {
		addr := p.settings.listenFor[h.name]
		if addr == "" && h.edge != "" {
			addr = h.edge
			if len(p.hosts) == 1 { // the process is the gateway
				shared = append(shared, h)
				continue
			}
		}
		socket := inherited[h.name]
		if socket == nil && addr == "" {
			shared = append(shared, h)
			continue
		}
		if err := p.addListener(h.name, socket, addr, []*Host{h}); err != nil {
			return err
		}
	}
	if len(shared) == 0 {
		return nil
	}
	addr := p.settings.listen
	if len(p.hosts) == 1 && p.hosts[0].edge != "" && p.settings.getenv("CLEAVE_LISTEN") == "" && p.settings.getenv("PORT") == "" {
		addr = p.hosts[0].edge
	}
	return p.addListener("business", inherited[""], addr, shared)
}

func (p *process) addListener(name string, socket net.Listener, addr string, hosts []*Host) error {
	var own *acceptor
	if socket == nil {
		opened, err := net.Listen("tcp", addr)
		if err != nil {
			p.closeListeners()
			return fmt.Errorf("listen for %s: %w", name, err)
		}
		own = newAcceptor(opened, min(settle, p.options.Linger))
		socket = own
	}
	l := &listener{name: name, socket: socket, own: own, hosts: hosts, served: make(chan struct{}), open: map[net.Conn]*connection{}}
	mux, err := p.mux(hosts)
	if err != nil {
		socket.Close()
		p.closeListeners()
		return err
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	handler := l.closeAnswered(guard(socket.Addr(), mux))
	if edge(hosts) {
		handler = strangers(handler)
	}
	var secure *tls.Config
	if p.secured(hosts) {
		protocols.SetHTTP2(true)
		handler, secure = rpi.IdentifyPeers(handler), p.tls.Server()
	}
	l.fast = p.fastWire(hosts, socket.Addr())
	l.server = &http.Server{
		Handler: handler, TLSConfig: secure, ConnState: l.follow, ConnContext: l.contextOf, Protocols: protocols,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: p.errorLog(),
	}
	p.listeners = append(p.listeners, l)
	return nil
}

// mux routes to everything that hosts serve; two that claim the same pattern
// are an error.
func (p *process) mux(hosts []*Host) (_ *http.ServeMux, err error) {
	mux := http.NewServeMux()
	mount := &feedOnce{mux, map[string]bool{}}
	who := ""
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %v", who, r)
		}
	}()
	for _, h := range hosts {
		who = h.name
		rpi.Mount(mount, h.server)
		for _, hd := range h.handlers {
			mux.Handle(hd.pattern, p.plain(h, hd.pattern, p.peersAsk(h, hd.handler)))
		}
	}
	return mux, nil
}

func (p *process) closeListeners() {
	for _, l := range p.listeners {
		l.socket.Close()
	}
}

func (l *listener) addr() string { return l.socket.Addr().String() }

// serve accepts until drain. Connections it accepted go on.
func (l *listener) serve() error {
	defer close(l.served)
	socket, serve := l.socket, l.server.Serve
	if l.fast != nil {
		socket = l.fast.Beside(socket)
	}
	if l.server.TLSConfig != nil {
		serve = func(s net.Listener) error { return l.server.ServeTLS(s, "", "") }
	}
	err := serve(socket)
	if l.closing.Load() || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// guard refuses, on a loopback listener, what a browser was tricked into
// sending: names that are not local and origins that are not its own.
func guard(addr net.Addr, next http.Handler) http.Handler {
	if !loopback(addr) {
		return next
	}
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localName(r.Host) {
			http.Error(w, "this address is served to local names only", http.StatusForbidden)
			return
		}
		sameOrigin.ServeHTTP(w, r)
	})
}

// edge reports whether a listener is for strangers.
func edge(hosts []*Host) bool {
	return slices.ContainsFunc(hosts, func(h *Host) bool { return h.edge != "" })
}

// strangers takes away what only other services may say of a call.
func strangers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del(rpi.CriticalityHeader)
		next.ServeHTTP(w, r)
	})
}

func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func localName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".cleave")
}

// inherited returns the sockets that a supervisor passed, by service; that of
// the business listener under "", of the admin listener under "admin".
func (p *process) inherited() (map[string]net.Listener, error) {
	n, err := strconv.Atoi(p.settings.getenv("LISTEN_FDS"))
	if err != nil || n <= 0 {
		return nil, nil
	}
	if pid := p.settings.getenv("LISTEN_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // meant for another process
	}
	names := strings.Split(p.settings.getenv("LISTEN_FDNAMES"), ":")
	sockets := map[string]net.Listener{}
	for i := range min(n, 64) {
		name := ""
		if i < len(names) && p.ownsSocket(names[i]) {
			name = names[i]
		}
		file := os.NewFile(uintptr(3+i), "inherited socket")
		socket, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("LISTEN_FDS: descriptor %d is not a listening socket: %w", 3+i, err)
		}
		if sockets[name] != nil {
			socket.Close()
			return nil, fmt.Errorf("LISTEN_FDNAMES: descriptor %d is a second socket for %q", 3+i, name)
		}
		sockets[name] = newSharedSocket(socket)
	}
	return sockets, nil
}

// ownsSocket reports whether a socket of that name is not the business one.
func (p *process) ownsSocket(name string) bool {
	if name == "admin" {
		return true
	}
	for _, h := range p.hosts {
		if h.name == name {
			return len(p.hosts) > 1
		}
	}
	return false
}
