package contract_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
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

func TestTwoTestsThatContradictEachOtherFail(t *testing.T) {
	dir := t.TempDir()
	record := func(t *fake, text string) {
		c := contract.New(t, "reader", "echo", &contract.Options{Dir: dir})
		contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoRequest{}).Returns(&echoapi.EchoResponse{Text: text})
		echoapi.NewEchoServiceClient(c.Client()).Look(t.Context(), &echoapi.EchoRequest{})
	}
	passes(t, run("TestA", func(t *fake) { record(t, "soup") }))
	failsWith(t, run("TestB", func(t *fake) { record(t, "bread") }), `recorded something else as "Look": contract.TestA`)
}
