package service

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-go/cleave/rpi"
)

// Variable is one name of the environment that a process reads.
type Variable struct{ Name, Meaning string }

// Environment lists what Run reads. <SERVICE> stands for a service's name in
// upper case, with _ for -.
func Environment() []Variable {
	return []Variable{
		{"CLEAVE_SERVICES", "which of the built-in services to host, separated by commas (default: all)"},
		{"CLEAVE_INSTANCE", "name of this instance (default: made up)"},
		{"CLEAVE_VERSION", "version to register (default: that of the build)"},
		{"CLEAVE_TOKEN", "authorizes registry writes"},
		{"CLEAVE_LISTEN", "address of the business listener (default: PORT, else a free loopback port)"},
		{"CLEAVE_LISTEN_<SERVICE>", "address of a listener of the service's own"},
		{"PORT", "loopback port of the business listener"},
		{"LISTEN_FDS", "sockets inherited from a supervisor, named by LISTEN_FDNAMES"},
		{"CLEAVE_ADVERTISE", "host name or address to register (default: that of the listener)"},
		{"CLEAVE_ADMIN_LISTEN", "address of the admin listener (default: a free loopback port)"},
		{"CLEAVE_REGISTRY", "URL of the registry (default: CLEAVE_ADDR_<SERVICE>, or in process)"},
		{"CLEAVE_ADDR_<SERVICE>", "addresses (host:port, separated by commas) of a service that runs elsewhere"},
		{"CLEAVE_DATA", "folder of the databases (default: .cleave/data)"},
		{"DATABASE_URL", "template of database URLs: sqlite:FILE or postgres://… (default: sqlite:{data}/{service}.db)"},
		{"DATABASE_URL_<SERVICE>", "database URL of one service"},
		{"NATS_URL", "bus, or the nodes of its cluster, separated by commas (default: in process, over the services' own tables)"},
		{"NATS_REPLICAS", "how many nodes of the cluster keep a copy of a service's stream, 1 to 5 (default: 1)"},
		{"CLEAVE_JWKS", "URL of the keys that sign callers' tokens (default: tokens are not read)"},
		{"CLEAVE_ISSUER", "issuer that callers' tokens must name"},
		{"CLEAVE_AUDIENCE", "audience that callers' tokens must name"},
		{"CLEAVE_LOG", "lowest level logged: debug, info, warn or error (default: info)"},
		{"CLEAVE_TLS_CERT", "PEM file of this process's certificate; with the next two, services speak to each other over mutual TLS (default: plain text)"},
		{"CLEAVE_TLS_KEY", "PEM file of the key to it"},
		{"CLEAVE_TLS_CA", "PEM file of the authorities whose certificates are believed"},
		{"CLEAVE_TLS_PEERS", "SPIFFE IDs and DNS names, separated by commas, of those who may call (default: all that the authorities know)"},
		{"CLEAVE_MAX_CALLS", "most calls that each service works on at a time; fewer when they get slow, the least critical are refused first (default: not limited)"},
		{"CLEAVE_WIRE", "how Go services call each other without TLS: grpc, where both sides know it, or connect (default: grpc)"},
		{"CLEAVE_FLIGHT", "how far back the flight recorder goes, such as 10s (default: it is off until asked for)"},
		{"NOTIFY_SOCKET", "where to report readiness, as systemd has it"},
		{"OTEL_*", "telemetry, as everywhere else"},
	}
}

// settings is the environment, read and checked.
type settings struct {
	getenv      func(string) string
	instance    string
	version     string
	token       string
	listen      string
	listenFor   map[string]string // by service
	advertise   string
	admin       string
	registry    string
	addrs       map[string][]string // by service, from CLEAVE_ADDR_*
	data        string
	databaseURL string
	natsURL     string
	replicas    int // 0: the bus's default
	flight      time.Duration
	maxCalls    int    // 0: not limited
	wire        string // one of the constants
	tls         rpi.TLSFiles
	peers       []string // nil: whoever has a certificate
}

// envName returns the variable of one service.
func envName(prefix, service string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(service, "-", "_"))
}

func readSettings(getenv func(string) string, environ []string, all []Named) (settings, error) {
	s := settings{
		getenv: getenv, instance: getenv("CLEAVE_INSTANCE"), version: getenv("CLEAVE_VERSION"), token: getenv("CLEAVE_TOKEN"),
		listen: getenv("CLEAVE_LISTEN"), listenFor: map[string]string{}, advertise: getenv("CLEAVE_ADVERTISE"),
		admin: getenv("CLEAVE_ADMIN_LISTEN"), registry: getenv("CLEAVE_REGISTRY"), addrs: map[string][]string{},
		data: getenv("CLEAVE_DATA"), databaseURL: getenv("DATABASE_URL"), natsURL: getenv("NATS_URL"), wire: cmp.Or(getenv("CLEAVE_WIRE"), wireGRPC),
	}
	var errs []error
	if s.listen == "" {
		s.listen = "127.0.0.1:0"
		if port := getenv("PORT"); port != "" {
			if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
				errs = append(errs, fmt.Errorf("PORT=%q: not a port number", port))
			}
			s.listen = net.JoinHostPort("127.0.0.1", port)
		}
	}
	if s.admin == "" {
		s.admin = "127.0.0.1:0"
	}
	if s.data == "" {
		s.data = ".cleave/data"
	}
	if s.databaseURL == "" {
		s.databaseURL = "sqlite:{data}/{service}.db"
	}
	for _, n := range all {
		if addr := getenv(envName("CLEAVE_LISTEN_", n.Name)); addr != "" {
			s.listenFor[n.Name] = addr
		}
	}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if service, ok := strings.CutPrefix(name, "CLEAVE_ADDR_"); ok && value != "" {
			s.addrs[service] = strings.Split(value, ",")
		}
	}
	if s.wire != wireGRPC && s.wire != wireConnect {
		errs = append(errs, fmt.Errorf("CLEAVE_WIRE=%q: want grpc or connect", s.wire))
	}
	errs = append(errs, s.readTLS())
	if text := getenv("CLEAVE_MAX_CALLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1_000_000 {
			errs = append(errs, fmt.Errorf("CLEAVE_MAX_CALLS=%q: not a number between 1 and 1000000", text))
		}
		s.maxCalls = n
	}
	if text := getenv("NATS_REPLICAS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 5 {
			errs = append(errs, fmt.Errorf("NATS_REPLICAS=%q: not a number between 1 and 5", text))
		}
		s.replicas = n
	}
	if text := getenv("CLEAVE_FLIGHT"); text != "" {
		d, err := flightAge(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("CLEAVE_FLIGHT: %w", err))
		}
		s.flight = d
	}
	errs = append(errs, s.checkAddrs()...)
	if s.registry != "" && !isURL(s.registry) {
		errs = append(errs, errors.New("CLEAVE_REGISTRY: not a URL such as http://127.0.0.1:8761"))
	}
	for node := range strings.SplitSeq(s.natsURL, ",") {
		if s.natsURL != "" && !isURL(strings.TrimSpace(node)) {
			errs = append(errs, errors.New("NATS_URL: not a URL such as nats://127.0.0.1:4222, or several, separated by commas"))
		}
	}
	return s, errors.Join(errs...)
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != ""
}

func (s *settings) readTLS() error {
	s.tls = rpi.TLSFiles{Cert: s.getenv("CLEAVE_TLS_CERT"), Key: s.getenv("CLEAVE_TLS_KEY"), CA: s.getenv("CLEAVE_TLS_CA")}
	for id := range strings.SplitSeq(s.getenv("CLEAVE_TLS_PEERS"), ",") {
		if id = strings.TrimSpace(id); id != "" {
			s.peers = append(s.peers, id)
		}
	}
	all := s.tls.Cert != "" && s.tls.Key != "" && s.tls.CA != ""
	if !all && (s.tls != rpi.TLSFiles{} || s.getenv("CLEAVE_TLS_PEERS") != "") {
		return errors.New("CLEAVE_TLS_CERT, CLEAVE_TLS_KEY and CLEAVE_TLS_CA belong together, and CLEAVE_TLS_PEERS needs them")
	}
	if s.getenv("CLEAVE_TLS_PEERS") != "" && s.peers == nil {
		return errors.New("CLEAVE_TLS_PEERS names nobody")
	}
	return nil
}

func (s settings) checkAddrs() []error {
	check := map[string][]string{"CLEAVE_LISTEN": {s.listen}, "CLEAVE_ADMIN_LISTEN": {s.admin}}
	for service, addr := range s.listenFor {
		check[envName("CLEAVE_LISTEN_", service)] = []string{addr}
	}
	for service, addrs := range s.addrs {
		check["CLEAVE_ADDR_"+service] = addrs
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(check)) {
		for _, addr := range check[name] {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				errs = append(errs, fmt.Errorf("%s=%q: not an address such as 127.0.0.1:8080", name, addr))
			}
		}
	}
	return errs
}

// choose returns those of all that CLEAVE_SERVICES names.
func choose(all []Named, names string) ([]Named, error) {
	seen := map[string]bool{}
	for _, n := range all {
		if err := checkName(n.Name); err != nil {
			return nil, err
		}
		if seen[n.Name] {
			return nil, fmt.Errorf("service %s is built in twice", n.Name)
		}
		seen[n.Name] = true
	}
	if strings.TrimSpace(names) == "" {
		return all, nil
	}
	var chosen []Named
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if !seen[name] {
			return nil, fmt.Errorf("CLEAVE_SERVICES names %q, which is not built in; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(seen)), ", "))
		}
		wanted[name] = true
	}
	for _, n := range all {
		if wanted[n.Name] {
			chosen = append(chosen, n)
		}
	}
	return chosen, nil
}

// checkName accepts what is a DNS label: names become host names, file names
// and subjects.
func checkName(name string) error {
	ok := len(name) >= 1 && len(name) <= 63 && name[0] >= 'a' && name[0] <= 'z' && name[len(name)-1] != '-'
	for _, c := range name {
		ok = ok && (c == '-' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
	}
	if !ok {
		return fmt.Errorf("service name %q: use lower-case letters, digits and -, starting with a letter, at most 63", name)
	}
	return nil
}

// databaseOf returns the URL of one service's database.
func (s settings) databaseOf(service string) string {
	u := s.databaseURL
	if own := s.getenv(envName("DATABASE_URL_", service)); own != "" {
		u = own
	}
	return strings.NewReplacer("{data}", s.data, "{service}", service).Replace(u)
}

// redact hides what a configuration value must not show.
func redact(name, value string) string {
	upper := strings.ToUpper(name)
	for _, secret := range []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL", "HEADERS"} {
		if strings.Contains(upper, secret) && value != "" {
			return "…"
		}
	}
	if u, err := url.Parse(value); err == nil && u.User != nil {
		u.User = url.User("…")
		return strings.ReplaceAll(u.String(), "%E2%80%A6", "…")
	}
	return value
}
