package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	mdLink  = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
)

// TestCodeOfGuidesIsCompiled looks for the lines of each Go block, in order and
// without their indentation, in an example.
func TestCodeOfGuidesIsCompiled(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("*_test.go")
	if err != nil || len(sources) < 2 {
		t.Fatalf("examples: %v, %v", sources, err)
	}
	var code strings.Builder
	for _, name := range sources {
		code.WriteString(flat(read(t, name)))
	}
	blocks := 0
	for _, name := range guides(t) {
		for _, b := range goBlock.FindAllStringSubmatch(read(t, name), -1) {
			if strings.Contains(b[1], "…") {
				continue // a sketch, and says so
			}
			blocks++
			if !strings.Contains(code.String(), flat(b[1])) {
				t.Errorf("%s shows code that is in no example:\n%s", name, b[1])
			}
		}
	}
	if blocks == 0 {
		t.Error("no Go code was found in the guides")
	}
}

func TestLinksOfGuidesLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, name := range guides(t) {
		for _, l := range mdLink.FindAllStringSubmatch(goBlock.ReplaceAllString(read(t, name), ""), -1) {
			if _, err := os.Stat(l[1]); err != nil {
				t.Errorf("%s links to %s: %v", name, l[1], err)
			}
		}
	}
}

func guides(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("guides: %v, %v", names, err)
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// flat takes indentation and empty lines out.
func flat(code string) string {
	var out strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}
