package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// allowed are the variables that commands get, and that count as inputs. A
// prefix ends in "*".
var allowed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*", "CI",
	"GOFLAGS", "GOOS", "GOARCH", "GO386", "GOAMD64", "GOARM", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOFIPS140",
	"GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE", "GOENV", "GOBIN", "GOWORK", "GOTOOLCHAIN", "GOMAXPROCS", "GOMEMLIMIT",
	"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOVCS", "GO111MODULE",
	"CGO_*", "CC", "CXX", "PKG_CONFIG", "PKG_CONFIG_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "STATICCHECK_CACHE",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"CLEAVE_TESTDATA",
}

// Extra names a variable that holds further names, separated by commas, of
// variables to pass to commands and to count as inputs.
const Extra = "CLEAVE_PIPELINE_ENV"

// scrub returns what commands get of an environment, sorted, the last of equal
// names.
func scrub(environ []string) []string {
	values := map[string]string{}
	for _, v := range environ {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" {
			values[name] = value
		}
	}
	names := slices.Clone(allowed)
	for name := range strings.SplitSeq(values[Extra], ",") {
		names = append(names, strings.TrimSpace(name))
	}
	var kept []string
	for name, value := range values {
		if slices.ContainsFunc(names, func(n string) bool {
			prefix, any := strings.CutSuffix(n, "*")
			return n == name || (any && prefix != "" && strings.HasPrefix(name, prefix))
		}) {
			kept = append(kept, name+"="+value)
		}
	}
	slices.Sort(kept)
	return kept
}

// forGit adds to a scrubbed environment which index a commit is made of. The
// other variables that git gives to a hook name folders; git finds them again.
func forGit(scrubbed, environ []string) []string {
	env := slices.Clone(scrubbed)
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case name == "GIT_INDEX_FILE" && value != "":
			if abs, err := filepath.Abs(value); err == nil {
				value = abs
			}
			env = append(env, name+"="+value)
		case strings.HasPrefix(name, "GIT_CONFIG"):
			env = append(env, v)
		}
	}
	return append(env, "GIT_OPTIONAL_LOCKS=0")
}

func environOr(environ []string) []string {
	if environ == nil {
		return os.Environ()
	}
	return environ
}
