package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"

	"github.com/cleave-go/cleave/bench/internal/lanes"
	"github.com/cleave-go/cleave/internal/echoapi"
)

func main() {
	if err := run(os.Stdout, lanes.Effort{Calls: 400, Least: 300, Most: 2_000, Enough: 30}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer, e lanes.Effort) error {
	fmt.Fprintf(w, "%s, %s/%s, %d CPUs; best of %d rounds or more\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), e.Least)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, s := range sections() {
		contenders, stop := s.contenders()
		var contest []lanes.Lane
		for _, c := range contenders {
			if err := c.call(context.Background()); err != nil {
				stop()
				return fmt.Errorf("%s: %w", c.name, err)
			}
			contest = append(contest, lanes.Lane{Name: c.name, Run: c.repeat})
		}
		err := lanes.Compare(out, e, s.name, contest)
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// section is calls that can be compared with its first.
type section struct {
	name       string
	contenders func() (_ []contender, stop func())
}

// contender echoes a short message.
type contender struct {
	name string
	echo func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
}

func (c contender) call(ctx context.Context) error {
	res, err := c.echo(ctx, &echoapi.EchoRequest{Text: "hello", Number: 7})
	if err == nil && res.GetText() != "hello" {
		err = fmt.Errorf("got %q", res.GetText())
	}
	return err
}

func (c contender) repeat(n int) {
	ctx := context.Background()
	for range n {
		if err := c.call(ctx); err != nil {
			panic(c.name + ": " + err.Error())
		}
	}
}
