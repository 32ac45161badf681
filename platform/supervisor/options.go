package supervisor

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// Options says how a system is run.
type Options struct {
	Topology   string           // of cleave.yaml. Default: a process per service.
	PortOffset int              // is added to every fixed port. Default: 0.
	Detached   bool             // whether processes outlive the supervisor. Default: they do not.
	Executable string           // that answers the roles. Default: this one.
	Policy     lifecycle.Policy // of every program. Default: that of lifecycle.
	// WithoutRoles runs the services alone: no registry, broker or dashboard.
	WithoutRoles bool
	Logger       *slog.Logger // Default: slog.Default()
}

// Fixed addresses of the platform, before the port offset.
const (
	DashboardPort = 9000
	IssuerPort    = 9001
	RegistryPort  = 8761
	DNSPort       = 8053
)

// Grace is how long a new instance may take to become ready in a restart or a
// deployment that names no time of its own.
const Grace = 30 * time.Second

// RunningError says that the folder has a supervisor already.
type RunningError struct {
	Dir string
	PID int
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("a system already runs in %s (pid %d); stop it with `cleave down`, or look at it with `cleave status`", e.Dir, e.PID)
}

// TakenError says that a fixed address is in use by somebody else.
type TakenError struct {
	Address, For string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s, the address of %s, is taken by another program; stop that, or move this system with --port-offset", e.Address, e.For)
}

func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	if v.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return v, fmt.Errorf("find this executable: %w", err)
		}
		v.Executable = exe
	}
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	if v.PortOffset < 0 || v.PortOffset > 50_000 {
		return v, fmt.Errorf("port offset %d: it must be from 0 to 50000", v.PortOffset)
	}
	return v, nil
}

// shift adds the port offset to a fixed address.
func (o *Options) shift(address string) (string, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", err
	}
	if port += o.PortOffset; port > 65535 {
		return "", fmt.Errorf("%s moved by %d has no valid port", address, o.PortOffset)
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

func (o *Options) loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port+o.PortOffset))
}
