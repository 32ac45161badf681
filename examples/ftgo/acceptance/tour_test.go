package acceptance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheTourOfTheReadmeWorksAsWritten types every command of the README's tour.
func TestTheTourOfTheReadmeWorksAsWritten(t *testing.T) {
	for _, name := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is needed: apt-get install %[1]s", name)
		}
	}
	script := tour(t)
	s := start(t, "services")

	// Only where the system is differs: at other ports, with state of its own.
	script = strings.ReplaceAll(script, "http://127.0.0.1:8080", s.restURL)
	script = strings.Replace(script, `go run ./platform/cmd/cleave "$@"`, `"$CLEAVE" "$@" --dir "$SYSTEM"`, 1)

	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	cmd.Dir = filepath.Join("..", "..", "..")
	cmd.Env = append(s.environ(), "CLEAVE="+s.cleave, "SYSTEM="+s.dir)
	data, err := cmd.CombinedOutput()
	out := string(data)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`"createRestaurant":{"id":"ajanta"}`,
		`"registerConsumer":{"id":"ada"}`,
		`"status":"APPROVED","rejectionReason":null,"total":{"amount":2468},"ticket":{"status":"AWAITING_ACCEPTANCE"},"payment":{"authorized":{"amount":2468}}`,
		`"nodes":[{"id":"`,
		`"lineItems":[{"menuItemId":"vindaloo"`, // the REST view
		`"status":"REJECTED","rejectionReason":"CARD_EXPIRED","total":{"amount":2468},"ticket":null,"payment":null`,
		`"path":["order","payment"]`,
		`"order":{"status":"APPROVED","ticket":{"status":"AWAITING_ACCEPTANCE"},"payment":null}`,
		"order-2", // deployed anew
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in what the tour prints", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// tour returns the commands of the README's tour.
func tour(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "\n## Ten minutes")
	text, _, _ = strings.Cut(text, "\n## ")
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		script.WriteString(block[1])
	}
	if script.Len() == 0 {
		t.Fatal("the README has no tour")
	}
	return script.String()
}
