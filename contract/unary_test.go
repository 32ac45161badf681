package contract_test

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/internal/echoapi"
)

// stored is the state that the examples need.
type stored struct {
	Text   string `json:"text"`
	Number int64  `json:"number,omitempty"`
}

// recordLook is a consumer's test of the echo service.
func recordLook(t *fake, dir string, options ...connecthttp.Option) {
	c := contract.New(t, "reader", "echo", &contract.Options{Dir: dir})
	want := &echoapi.EchoResponse{Text: "soup", Number: 42, List: []string{"a"}}
	contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoRequest{Text: "soup"}).
		Given("a text is stored", stored{Text: "soup"}).
		Returns(want, contract.Exactly(&want.Text), contract.Regex(&want.List[0], "[a-z]"))
	contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoRequest{Text: "bread"}).
		Given("no text is stored").
		Fails(connect.NewError(connect.CodeNotFound, "no such text"))

	client := echoapi.NewEchoServiceClient(c.Client(options...))
	got, err := client.Look(t.Context(), &echoapi.EchoRequest{Text: "soup"})
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("Look: %v, %v, want %v", got, err, want)
	}
	if _, err := client.Look(t.Context(), &echoapi.EchoRequest{Text: "bread"}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("Look of nothing: %v", err)
	}
}

func TestACallIsAnsweredInEachProtocolAndCodecFromOneExample(t *testing.T) {
	for _, x := range []struct {
		name    string
		options []connecthttp.Option
	}{
		{"Connect", nil},
		{"Connect with JSON", []connecthttp.Option{connecthttp.WithProtoJSON()}},
		{"Connect by GET", []connecthttp.Option{connecthttp.WithHTTPGet()}},
		{"gRPC", []connecthttp.Option{connecthttp.WithGRPC()}},
		{"gRPC with JSON", []connecthttp.Option{connecthttp.WithGRPC(), connecthttp.WithProtoJSON()}},
		{"gRPC-Web", []connecthttp.Option{connecthttp.WithGRPCWeb()}},
		{"gRPC-Web with JSON", []connecthttp.Option{connecthttp.WithGRPCWeb(), connecthttp.WithProtoJSON()}},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			if *update {
				passes(t, run("TestLook", func(t *fake) { recordLook(t, "testdata", x.options...) }))
			}
			passes(t, run("TestLook", func(t *fake) { recordLook(t, dir, x.options...) }))
			passes(t, run("TestLook", func(t *fake) { recordLook(t, dir, x.options...) }))
			if got, want := read(t, dir, "reader-echo.json"), readGolden(t, "reader-echo.json"); got != want {
				t.Errorf("wrote\n%s\nwant\n%s", got, want)
			}
		})
	}
}

var update = flag.Bool("update", false, "record the contracts in testdata anew")

// readGolden returns a committed contract.
func readGolden(t *testing.T, name string) string {
	t.Helper()
	return read(t, "testdata", name)
}

// echo is a provider.
type echo struct {
	echoapi.UnimplementedEchoServiceHandler
	text  string
	reply func(r *echoapi.EchoResponse)
}

func (e *echo) Look(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	if e.text != r.Text {
		return nil, connect.NewError(connect.CodeNotFound, "there is no "+r.Text)
	}
	out := &echoapi.EchoResponse{Text: r.Text, Number: 7, List: []string{"x", "y"}, Data: []byte("more")}
	if e.reply != nil {
		e.reply(out)
	}
	return out, nil
}

func (e *echo) options(dir string) []contract.Option {
	server := connect.NewServer()
	echoapi.RegisterEchoServiceHandler(server, e)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	return []contract.Option{
		contract.Dir(dir), contract.Handler(mux),
		contract.State("a text is stored", func(_ context.Context, s stored) error { e.text = s.Text; return nil }),
		contract.State("no text is stored", func(context.Context, struct{}) error { e.text = ""; return nil }),
	}
}

func TestAProviderThatKeepsItsPromisesPrintsNothing(t *testing.T) {
	verified := run("TestPromises", func(t *fake) { contract.Verify(t, "echo", (&echo{}).options("testdata")...) })
	passes(t, verified)
	if got := strings.Join(verified.Subtests(), ", "); got != "reader/Look, reader/Look" {
		t.Errorf("verified %s", got)
	}
}

func TestABrokenProviderFailsWithEveryDifferenceByPath(t *testing.T) {
	e := &echo{reply: func(r *echoapi.EchoResponse) { r.Text, r.List = "Soup of the day", []string{"x", "Y2"} }}
	verified := run("TestPromises", func(t *fake) { contract.Verify(t, "echo", e.options("testdata")...) })
	want := `contract: echo does not keep what reader expects in "Look" (reader-echo.json, recorded by contract.TestLook):
path       expected  actual             rule
$.list[1]  'a'       'Y2'               regex [a-z]
$.text     'soup'    'Soup of the day'  equality
`
	if verified.Output() != want {
		t.Errorf("said\n%s\nwant\n%s", verified.Output(), want)
	}
}

func TestAFieldThatIsZeroIsThere(t *testing.T) {
	e := &echo{reply: func(r *echoapi.EchoResponse) { r.Number = 0 }}
	passes(t, run("TestPromises", func(t *fake) { contract.Verify(t, "echo", e.options("testdata")...) }))
	e = &echo{reply: func(r *echoapi.EchoResponse) { r.List = nil }}
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "echo", e.options("testdata")...) }), "$.list", "type min 1")
}

func TestAnErrorOfAnotherCodeIsADifference(t *testing.T) {
	options := append((&echo{}).options("testdata"), contract.Handler(http.NotFoundHandler()))
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "echo", options...) }),
		"status  200                                         404                   equality", "404 page not found")
}

func TestWhatNobodyProvidesFailsWithTheLinesToAdd(t *testing.T) {
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "echo", contract.Dir("testdata")) }), `
	contract.State("a text is stored", func(ctx context.Context, p struct {
		Text string `+"`json:\"text\"`"+`
	}) error {
		return errors.New("not written yet")
	}),`)
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "nobody", contract.Dir("testdata")) }), "no contracts of nobody")
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "nobody", contract.Dir("testdata/none")) }), "testdata/none")
	passes(t, run("TestPromises", func(t *fake) { contract.Verify(t, "nobody", contract.Dir("testdata"), contract.AllowNone()) }))
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "nobody", contract.Files("testdata/reader-echo.json")) }), "is a contract with echo")
}

func TestAFailingStateIsNotTheProvidersFault(t *testing.T) {
	options := append((&echo{}).options("testdata"),
		contract.State("a text is stored", func(context.Context, struct{ Other string }) error { return nil }),
		contract.State("no text is stored", func(context.Context, struct{}) error { return errors.New("disk full") }))
	failsWith(t, run("TestPromises", func(t *fake) { contract.Verify(t, "echo", options...) }),
		`unknown field "text"`, `the state "no text is stored": disk full`)
}

func TestAFileIsWrittenOnlyIfTheTestPassedAndUsedEveryInteraction(t *testing.T) {
	expectation := func(t *fake, dir string) (*contract.Contract, *echoapi.EchoResponse) {
		c := contract.New(t, "reader", "echo", &contract.Options{Dir: dir})
		want := &echoapi.EchoResponse{Text: "soup"}
		contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoRequest{Text: "soup"}).Returns(want)
		return c, want
	}
	for _, x := range []struct {
		name string
		test func(t *fake, dir string)
		says string
	}{
		{"an interaction is not used", func(t *fake, dir string) { expectation(t, dir) }, "Look was never used"},
		{"a call is another one", func(t *fake, dir string) {
			c, _ := expectation(t, dir)
			echoapi.NewEchoServiceClient(c.Client()).Look(t.Context(), &echoapi.EchoRequest{Text: "soap", Number: 3})
		}, "$.number  nothing   '3'     no other keys\n$.text    'soup'    'soap'  equality"},
		{"a call is of another method", func(t *fake, dir string) {
			c, _ := expectation(t, dir)
			echoapi.NewEchoServiceClient(c.Client()).Echo(t.Context(), &echoapi.EchoRequest{})
		}, "no call of this path is expected"},
		{"the test fails otherwise", func(t *fake, dir string) {
			c, _ := expectation(t, dir)
			echoapi.NewEchoServiceClient(c.Client()).Look(t.Context(), &echoapi.EchoRequest{Text: "soup"})
			t.Errorf("wrong")
		}, "wrong"},
		{"nothing is expected", func(t *fake, dir string) {
			contract.New(t, "reader", "echo", &contract.Options{Dir: dir})
		}, "expects nothing"},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			failsWith(t, run("TestLook", func(t *fake) { x.test(t, dir) }), x.says)
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("wrote %v", files)
			}
		})
	}
}

func TestMistakesInAnExampleAreExplained(t *testing.T) {
	var elsewhere string
	for _, x := range []struct {
		name string
		test func(c *contract.Contract, want *echoapi.EchoResponse) contract.Matcher
		says string
	}{
		{"outside", func(_ *contract.Contract, want *echoapi.EchoResponse) contract.Matcher {
			return contract.Like(&elsewhere)
		}, "points at a *string outside the example"},
		{"zero value", func(_ *contract.Contract, want *echoapi.EchoResponse) contract.Matcher {
			return contract.Exactly(&want.Number)
		}, "the example has nothing at $.number"},
		{"breaks its rule", func(_ *contract.Contract, want *echoapi.EchoResponse) contract.Matcher {
			return contract.Regex(&want.Text, "[0-9]")
		}, "the example does not keep its own rules"},
		{"regex", func(_ *contract.Contract, want *echoapi.EchoResponse) contract.Matcher {
			return contract.Regex(&want.Text, "(")
		}, "missing closing )"},
		{"path", func(_ *contract.Contract, want *echoapi.EchoResponse) contract.Matcher {
			return contract.At("text", contract.Like[string](nil))
		}, "want it to begin with $"},
	} {
		t.Run(x.name, func(t *testing.T) {
			failsWith(t, run("TestLook", func(f *fake) {
				c := contract.New(f, "reader", "echo", &contract.Options{Dir: t.TempDir()})
				want := &echoapi.EchoResponse{Text: "soup"}
				contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoRequest{Text: "soup"}).Returns(want, x.test(c, want))
			}), x.says)
		})
	}
	failsWith(t, run("TestLook", func(f *fake) {
		c := contract.New(f, "reader", "echo", &contract.Options{Dir: t.TempDir()})
		contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoResponse{})
	}), "has a cleave.rpi.echo.v1.EchoRequest here")
}

func TestStubAnswersFromRecordedFiles(t *testing.T) {
	h, err := contract.Stub(filepath.Join("testdata", "reader-echo.json"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	for _, options := range [][]connecthttp.Option{nil, {connecthttp.WithProtoJSON()}} {
		client := echoapi.NewEchoServiceClient(connect.NewClient(connecthttp.NewTransport(http.DefaultClient, server.URL, options...)))
		got, err := client.Look(t.Context(), &echoapi.EchoRequest{Text: "soup"})
		if err != nil || got.Number != 42 {
			t.Errorf("%v, %v", got, err)
		}
		if _, err = client.Look(t.Context(), &echoapi.EchoRequest{Text: "bread"}); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("recorded error: %v", err)
		}
		if _, err = client.Look(t.Context(), &echoapi.EchoRequest{Text: "tea"}); connect.CodeOf(err) != connect.CodeInternal {
			t.Errorf("unknown call: %v", err)
		}
	}
	if _, err := contract.Stub(); err == nil {
		t.Error("a stub of nothing")
	}
}
