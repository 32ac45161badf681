// Command graphqlhttp runs the audits of the GraphQL over HTTP specification,
// as the npm package graphql-http has them, against graphql.Schema.Handler.
//
//	go run ./conformance/graphqlhttp
//
// It needs node, npm and the npm registry. It prints what is not met and fails
// if any audit fails.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cleave-go/cleave/graphql"
)

//go:embed audit.mjs
var audit []byte

// packages are what audit.mjs imports.
var packages = []string{"graphql-http@1.23.1", "graphql@16"}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "graphqlhttp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	url, stop, err := serve()
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "graphqlhttp")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "audit.mjs"), audit, 0o600); err != nil {
		return err
	}
	install := append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", dir}, packages...)
	if err := command(ctx, dir, "npm", install...); err != nil {
		return fmt.Errorf("npm install: %w", err)
	}
	return command(ctx, dir, "node", "audit.mjs", url)
}

func serve() (url string, stop func(), err error) {
	schema, err := graphql.Load(`type Query { hello: String }`, &graphql.Options{
		Anonymous:     true,
		Introspection: true, // some audits read __type
		Resolvers: map[string]graphql.Resolver{"Query.hello": {
			Resolve: func(context.Context, []graphql.Parent) ([]any, error) { return []any{"world"}, nil },
		}},
	})
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: schema.Handler(nil), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l)
	return "http://" + l.Addr().String() + "/graphql", func() { server.Close() }, nil
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
	return cmd.Run()
}
