package pact_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/contract/internal/match"
	"github.com/cleave-go/cleave/contract/internal/pact"
)

// counted is how many of the 803 published cases have their published verdict
// here: all but 156 with XML bodies and the two of version 1 below.
const counted = 645

// The cases of the specification by version: all that are published, and those
// of them with an XML body, which this package does not compare. A case of
// version 1 is read by the rules of its successors, which flips the two verdicts
// that depend on comparing queries as text.
var corpus = []struct {
	folder     string
	version    int
	total, xml int
	otherwise  []string // cases with another verdict here, each with its reason above
}{
	{"version-1", 1, 76, 0, []string{"request/query/different param order.json", "request/query/trailing amperand.json"}},
	{"version-1.1", 1, 97, 0, nil},
	{"version-2", 2, 178, 50, nil},
	{"version-3", 3, 226, 53, nil},
	{"version-4", 4, 226, 53, nil},
}

func TestTheSpecificationsOwnCases(t *testing.T) {
	data := os.Getenv("CLEAVE_TESTDATA")
	if data == "" {
		t.Skip("CLEAVE_TESTDATA is not set: it names the folder with pact-specification")
	}
	compared := 0
	for _, v := range corpus {
		root := filepath.Join(data, "pact-specification", v.folder, "testcases")
		files, err := filepath.Glob(filepath.Join(root, "*", "*", "*.json"))
		if err != nil || len(files) != v.total {
			t.Fatalf("%s has %d cases, want %d (%v)", v.folder, len(files), v.total, err)
		}
		xml, otherwise := 0, 0
		for _, file := range files {
			name := strings.TrimPrefix(file, root+string(filepath.Separator))
			c := load(t, file)
			if isXML(c["expected"]) || isXML(c["actual"]) {
				xml++
				continue
			}
			found := compare(t, strings.Split(name, string(filepath.Separator))[0], c, v.version)
			if (len(found) == 0) == (c["match"] == true) {
				compared++
				continue
			}
			if otherwise++; !contains(v.otherwise, filepath.ToSlash(name)) {
				t.Errorf("%s/%s: want match %v, found\n%s", v.folder, name, c["match"], match.Table(found))
			}
		}
		if xml != v.xml || otherwise != len(v.otherwise) {
			t.Errorf("%s: %d cases with XML bodies, want %d; %d with another verdict, want %d", v.folder, xml, v.xml, otherwise, len(v.otherwise))
		}
	}
	if compared != counted {
		t.Errorf("%d cases have the published verdict, want %d", compared, counted)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func load(t *testing.T, file string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, err := match.Decode([]byte(strings.TrimPrefix(string(data), "\ufeff")))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v.(map[string]any)
}

// isXML reports whether a case's body is an XML document.
func isXML(side any) bool {
	m, _ := side.(map[string]any)
	for _, key := range []string{"body", "contents"} {
		body := m[key]
		if wrapped, ok := body.(map[string]any); ok {
			body = wrapped["content"]
		}
		if s, ok := body.(string); ok && strings.HasPrefix(s, "<") {
			return true
		}
	}
	return false
}

func compare(t *testing.T, what string, c map[string]any, version int) []match.Mismatch {
	t.Helper()
	expected, actual := c["expected"].(map[string]any), c["actual"].(map[string]any)
	switch what {
	case "request":
		e, a := must(pact.ReadRequest(expected, version))(t), must(pact.ReadRequest(actual, version))(t)
		return pact.CompareRequest(e, a)
	case "response":
		e, a := must(pact.ReadResponse(expected, version))(t), must(pact.ReadResponse(actual, version))(t)
		return pact.CompareResponse(e, a)
	default:
		e, a := must(pact.ReadMessage(expected, version))(t), must(pact.ReadMessage(actual, version))(t)
		return pact.CompareMessage(e, a, true)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
