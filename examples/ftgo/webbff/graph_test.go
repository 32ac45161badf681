package webbff

import (
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/graphql"
)

func TestGraphFitsTheServices(t *testing.T) {
	if _, err := graphql.Load(graph, &graphql.Options{Client: func(string) *connect.Client { return nil }}); err != nil {
		t.Fatal(err)
	}
}
