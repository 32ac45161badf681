package supervisor

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// withheld are the variables of the supervisor's own environment that would
// mean something wrong to a program.
var withheld = []string{"CLEAVE_", "LISTEN_", "NOTIFY_SOCKET=", "PORT=", "HOST=", "DATABASE_URL", "NATS_URL=", "NATS_REPLICAS="}

func inherited() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc(withheld, func(prefix string) bool { return strings.HasPrefix(v, prefix) })
	})
}

// environment returns the complete environment of an instance. What cleave.yaml
// says comes last and wins.
func (s *Supervisor) environment(p *program, i *instance) []string {
	if p.role {
		return append(inherited(), "NOTIFY_SOCKET="+s.layout.notify(i.id), "CLEAVE_TOKEN="+s.token)
	}
	values := map[string]string{
		"CLEAVE_SYSTEM":   s.sys.Name,
		"CLEAVE_SERVICES": strings.Join(p.spec.Services(), ","),
		"CLEAVE_INSTANCE": i.id,
		"CLEAVE_DATA":     s.layout.Data(),
		"DATABASE_URL":    "sqlite:" + filepath.Join(s.layout.Data(), "{service}.db"),
		"NOTIFY_SOCKET":   s.layout.notify(i.id),
	}
	if i.version() != "" {
		values["CLEAVE_VERSION"] = i.version()
	}
	if address := i.address(); address != "" {
		host, port, _ := net.SplitHostPort(address)
		values["HOST"], values["PORT"], values["CLEAVE_LISTEN"] = host, port, address
	}
	if i.adminPort != 0 {
		values["CLEAVE_ADMIN_LISTEN"] = i.admin()
	}
	if !s.opts.WithoutRoles {
		issuer := "http://" + s.opts.loopback(IssuerPort)
		maps.Copy(values, map[string]string{
			"CLEAVE_REGISTRY": "http://" + s.opts.loopback(RegistryPort),
			"CLEAVE_TOKEN":    s.token,
			"CLEAVE_JWKS":     issuer + "/jwks.json",
			"CLEAVE_ISSUER":   issuer,
			"CLEAVE_AUDIENCE": s.sys.Name,
			"NATS_URL":        fmt.Sprintf("nats://%s@127.0.0.1:%d", s.token, s.brokerPort),
		})
	}
	maps.Copy(values, p.spec.Env)
	env := slices.DeleteFunc(inherited(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		_, ours := values[name]
		return ours
	})
	for _, name := range slices.Sorted(maps.Keys(values)) {
		env = append(env, name+"="+values[name])
	}
	return env
}
