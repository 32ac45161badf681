package service

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"
)

// adminServer is the listener for those who run the process.
type adminServer struct {
	socket net.Listener
	server *http.Server
	served chan struct{}
}

func (a *adminServer) addr() string { return a.socket.Addr().String() }

func (a *adminServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		a.server.Close()
	}
	<-a.served
}

func (p *process) startAdmin() (*adminServer, error) {
	socket, err := net.Listen("tcp", p.settings.admin)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	a := &adminServer{socket: socket, served: make(chan struct{}), server: &http.Server{
		Handler: guard(socket.Addr(), p.adminMux()), ReadHeaderTimeout: 10 * time.Second, ErrorLog: p.errorLog(),
	}}
	go func() {
		defer close(a.served)
		a.server.Serve(socket) // ends with close
	}()
	return a, nil
}

func (p *process) adminMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) { p.health(w, p.state.Load() >= ready) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { p.health(w, p.state.Load() == ready) })
	mux.HandleFunc("GET /config", p.showConfig)
	if p.options.Metrics != nil {
		mux.Handle("GET /metrics", p.options.Metrics)
	}
	if p.options.LogLevel != nil {
		mux.HandleFunc("GET /loglevel", p.showLevel)
		mux.HandleFunc("PUT /loglevel", p.setLevel)
	}
	mux.Handle("/ops/", p.operate())
	mux.HandleFunc("GET /debug/flight", p.showFlight)
	mux.HandleFunc("POST /debug/flight", p.recordFlight)
	mux.HandleFunc("DELETE /debug/flight", p.endFlight)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func (p *process) health(w http.ResponseWriter, ok bool) {
	if ok {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	switch waiting := p.waiting.Load(); {
	case p.state.Load() == draining:
		fmt.Fprintln(w, "stopping")
	case waiting != nil:
		fmt.Fprintln(w, "waiting for", *waiting)
	default:
		fmt.Fprintln(w, "starting")
	}
}

// showConfig lists what is set of the variables that services read; secrets
// are hidden.
func (p *process) showConfig(w http.ResponseWriter, _ *http.Request) {
	type entry struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	entries := []entry{}
	for _, v := range p.options.Environ {
		name, value, _ := strings.Cut(v, "=")
		for _, prefix := range []string{"CLEAVE_", "DATABASE_URL", "NATS_URL", "OTEL_", "LISTEN_", "NOTIFY_SOCKET", "PORT"} {
			if strings.HasPrefix(name, prefix) {
				entries = append(entries, entry{name, redact(name, value)})
				break
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(entries) // the reader has gone
}

// errorLog takes what net/http has to say, such as broken handshakes.
func (p *process) errorLog() *log.Logger {
	return slog.NewLogLogger(p.logger.Handler(), slog.LevelDebug)
}
