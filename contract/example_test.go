package contract_test

import (
	"context"
	"fmt"
	"os"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/contract/contracttest"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// shouting is a provider that was changed.
type shouting struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (shouting) Look(_ context.Context, req *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: "SOUP!", List: []string{"a"}}, nil
}

// In a real test t is the *testing.T; this one stands for it, because the
// provider does not keep its promise.
func Example() {
	dir, _ := os.MkdirTemp("", "contracts")
	defer os.RemoveAll(dir)

	consumer := contracttest.Run("TestSoupIsShown", func(t *contracttest.T) {
		c := contract.New(t, "menu", "echo", &contract.Options{Dir: dir})
		want := &echoapi.EchoResponse{Text: "soup"}
		contract.Unary(c, echoapi.EchoServiceLookProcedure, &echoapi.EchoRequest{Text: "soup"}).Returns(want, contract.Exactly(&want.Text))
		// The code under test:
		got, err := echoapi.NewEchoServiceClient(c.Client()).Look(t.Context(), &echoapi.EchoRequest{Text: "soup"})
		fmt.Println("the consumer sees", got.GetText(), err)
	})
	fmt.Println("consumer failed:", consumer.Failed())

	provider := contracttest.Run("TestPromises", func(t *contracttest.T) {
		server := connect.NewServer()
		echoapi.RegisterEchoServiceHandler(server, shouting{})
		contract.Verify(t, "echo", contract.Dir(dir), contract.Handler(rpi.Handler(server)))
	})
	fmt.Println("provider failed:", provider.Failed())
	fmt.Print(provider.Output())
	// Output:
	// the consumer sees soup <nil>
	// consumer failed: false
	// provider failed: true
	// contract: echo does not keep what menu expects in "Look" (menu-echo.json, recorded by contract.TestSoupIsShown):
	// path    expected  actual   rule
	// $.text  'soup'    'SOUP!'  equality
}
