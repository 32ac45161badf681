package contract_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/internal/echoapi"
)

// recordNumber is one of many tests that record in one file.
func recordNumber(t *fake, dir string, n int) {
	c := contract.New(t, "reader", "echo", &contract.Options{Dir: dir})
	req := &echoapi.EchoRequest{Text: fmt.Sprint(n)}
	contract.Unary(c, echoapi.EchoServiceLookProcedure, req).Named(fmt.Sprintf("number %d", n)).Returns(&echoapi.EchoResponse{Text: req.Text})
	if _, err := echoapi.NewEchoServiceClient(c.Client()).Look(t.Context(), req); err != nil {
		t.Errorf("Look: %v", err)
	}
}

// recordAll runs the tests side by side, in any order.
func recordAll(t *testing.T, dir string, tests int) {
	t.Helper()
	var group sync.WaitGroup
	for _, n := range rand.Perm(tests) {
		group.Go(func() {
			if f := run(fmt.Sprintf("Test%d", n), func(t *fake) { recordNumber(t, dir, n) }); f.Failed() {
				t.Error(f.Output())
			}
		})
	}
	group.Wait()
}

func TestTheSameTestsWriteTheSameBytesInAnyOrder(t *testing.T) {
	first := ""
	for range 100 {
		dir := t.TempDir()
		recordAll(t, dir, 4)
		got := read(t, dir, "reader-echo.json")
		if first == "" {
			first = got
		}
		if got != first {
			t.Fatalf("wrote\n%s\nbefore it was\n%s", got, first)
		}
	}
}

const recordIn = "CONTRACT_TEST_RECORD_IN"

func TestSeveralProcessesRecordInOneFile(t *testing.T) {
	if dir := os.Getenv(recordIn); dir != "" { // one of the processes
		recordAll(t, dir, 8)
		return
	}
	alone, together := t.TempDir(), t.TempDir()
	recordAll(t, alone, 8)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestSeveralProcessesRecordInOneFile$")
			cmd.Env = append(os.Environ(), recordIn+"="+together)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	group.Wait()
	if got, want := read(t, together, "reader-echo.json"), read(t, alone, "reader-echo.json"); got != want {
		t.Errorf("together they wrote\n%s\nwant\n%s", got, want)
	}
}

func TestATestReplacesOnlyWhatItRecordedBefore(t *testing.T) {
	dir := t.TempDir()
	passes(t, run("TestA", func(t *fake) { recordNumber(t, dir, 1) }))
	passes(t, run("TestB", func(t *fake) { recordNumber(t, dir, 2) }))
	two := read(t, dir, "reader-echo.json")
	passes(t, run("TestA", func(t *fake) { recordNumber(t, dir, 3) }))
	if read(t, dir, "reader-echo.json") == two {
		t.Error("the second run of TestA changed nothing")
	}
	passes(t, run("TestA", func(t *fake) { recordNumber(t, dir, 1) }))
	if got := read(t, dir, "reader-echo.json"); got != two {
		t.Errorf("wrote\n%s\nwant\n%s", got, two)
	}
}

// recordText is a test that contradicts another with another text.
func recordText(t *fake, dir, text string) {
	c := contract.New(t, "reader", "echo", &contract.Options{Dir: dir})
	contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoRequest{}).Returns(&echoapi.EchoResponse{Text: text})
	echoapi.NewEchoServiceClient(c.Client()).Look(t.Context(), &echoapi.EchoRequest{})
}

func TestTwoTestsThatContradictEachOtherFail(t *testing.T) {
	dir := t.TempDir()
	passes(t, run("TestA", func(t *fake) { recordText(t, dir, "soup") }))
	failsWith(t, run("TestB", func(t *fake) { recordText(t, dir, "bread") }), `recorded something else as "Look": contract.TestA`)
}

func TestWhatATestThatHasNotRunAgainRecordedDoesNotStandInTheWay(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	passes(t, run("TestA", func(t *fake) { recordText(t, dir, "soup") }))
	data := read(t, dir, "reader-echo.json")
	if err := os.WriteFile(filepath.Join(copied, "reader-echo.json"), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	passes(t, run("TestB", func(t *fake) { recordText(t, copied, "bread") }))
	passes(t, run("TestA", func(t *fake) { recordText(t, copied, "bread") }))
}

func TestTwoTestsThatAgreeWriteTheSameBytesInAnyOrder(t *testing.T) {
	ab, ba := t.TempDir(), t.TempDir()
	passes(t, run("TestA", func(t *fake) { recordNumber(t, ab, 1) }))
	passes(t, run("TestB", func(t *fake) { recordNumber(t, ab, 1) }))
	passes(t, run("TestB", func(t *fake) { recordNumber(t, ba, 1) }))
	passes(t, run("TestA", func(t *fake) { recordNumber(t, ba, 1) }))
	if a, b := read(t, ab, "reader-echo.json"), read(t, ba, "reader-echo.json"); a != b {
		t.Errorf("one order wrote\n%s\nthe other\n%s", a, b)
	}
}
