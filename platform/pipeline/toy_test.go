package pipeline_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/pipeline"
)

// toy is a system of two services and a library in a git repository.
type toy struct {
	t    *testing.T
	dir  string
	env  []string
	opts pipeline.Options
}

var toyFiles = map[string]string{
	"go.mod":      "module toy\n\ngo 1.26\n",
	".gitignore":  ".cleave/\n",
	"cleave.yaml": "system: toy\nservices:\n  shop: {run: ./shop/cmd/shopd}\n  post: {run: ./post}\n  old: {run: python3 old.py}\n",
	// It speaks HTTP by hand: net/http would be linked again and again.
	"shop/cmd/shopd/main.go": `package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"toy/shop"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	if bank := os.Getenv("CLEAVE_ADDR_BANK"); bank != "" {
		conn, _ := net.Dial("tcp", bank)
		fmt.Fprint(conn, "GET /rate HTTP/1.0\r\n\r\n")
		if status, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(status, " 200 ") {
			os.Exit(5)
		}
	}
	ln, _ := net.Listen("tcp", os.Getenv("CLEAVE_LISTEN"))
	go serve(ln)
	<-ended
}

func serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		for in := bufio.NewReader(conn); ; {
			if line, err := in.ReadString('\n'); err != nil || line == "\r\n" {
				break
			}
		}
		text := shop.Greeting()
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		conn.Close()
	}
}
`,
	"shop/shop.go": `package shop

import (
	_ "embed"

	"toy/money"
)

//go:embed greeting.txt
var greeting string

func Greeting() string { return greeting + money.Text(100) }
`,
	"shop/greeting.txt": "hello ",
	"shop/shop_test.go": `package shop

import (
	"os"
	"strings"
	"testing"
)

func TestGreeting(t *testing.T) {
	want, err := os.ReadFile("testdata/want.txt")
	if err != nil || strings.TrimSpace(greeting) != strings.TrimSpace(string(want)) {
		t.Errorf("greets %q, want %q", greeting, want)
	}
}

func TestIntegration(t *testing.T) {
	if os.Getenv("TOY_FAILS") != "" {
		t.Error("the shop is shut")
	}
}
`,
	"shop/testdata/want.txt": "hello\n",
	"money/money.go": `package money

import "fmt"

func Text(cents int) string { return fmt.Sprint(cents) }
`,
	"money/money_test.go": `package money

import "testing"

func TestText(t *testing.T) {
	if Text(100) != "100" {
		t.Error(Text(100))
	}
}
`,
	"post/main.go": `package main

func main() {}
`,
}

func newToy(t *testing.T) *toy {
	t.Helper()
	y := &toy{t: t, dir: t.TempDir()}
	for name, text := range toyFiles {
		y.write(name, text)
	}
	y.env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	y.git("init", "-q")
	y.git("add", "-A")
	y.git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "first")
	return y
}

func (y *toy) write(name, text string) {
	y.t.Helper()
	file := filepath.Join(y.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		y.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		y.t.Fatal(err)
	}
}

// edit replaces a part of a file.
func (y *toy) edit(name, old, new string) {
	y.t.Helper()
	data, err := os.ReadFile(filepath.Join(y.dir, name))
	if err != nil || !strings.Contains(string(data), old) {
		y.t.Fatalf("%s has no %q (%v)", name, old, err)
	}
	y.write(name, strings.Replace(string(data), old, new, 1))
}

func (y *toy) remove(name string) {
	y.t.Helper()
	if err := os.Remove(filepath.Join(y.dir, name)); err != nil {
		y.t.Fatal(err)
	}
}

func (y *toy) git(args ...string) {
	y.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = y.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		y.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

func (y *toy) run(services ...string) (pipeline.Report, error) {
	y.t.Helper()
	sys, err := manifest.Load(y.dir)
	if err != nil {
		y.t.Fatal(err)
	}
	opts := y.opts
	opts.Environ = y.env
	return pipeline.Run(context.Background(), sys, services, &opts)
}

func (y *toy) must(services ...string) pipeline.Report {
	y.t.Helper()
	report, err := y.run(services...)
	if err != nil {
		y.t.Fatal(err)
	}
	return report
}

// result returns what a stage of shop did.
func result(t *testing.T, report pipeline.Report, st pipeline.Stage) pipeline.Result {
	t.Helper()
	i := slices.IndexFunc(report.Results, func(r pipeline.Result) bool {
		return r.Stage == st && (r.Service == "shop" || r.Service == "")
	})
	if i < 0 {
		t.Fatalf("%s did not run: %+v", st, report.Results)
	}
	return report.Results[i]
}
