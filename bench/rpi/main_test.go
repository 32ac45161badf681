package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/bench/internal/lanes"
)

func BenchmarkCall(b *testing.B) {
	for _, s := range sections() {
		contenders, stop := s.contenders()
		for _, c := range contenders {
			b.Run(s.name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := c.call(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		stop()
	}
}

func TestTheTableHasARowForEachContender(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, lanes.Effort{Calls: 100, Least: 1, Most: 1}); err != nil {
		t.Fatal(err)
	}
	for _, s := range sections() {
		contenders, stop := s.contenders()
		for _, c := range contenders {
			if !strings.Contains(out.String(), c.name+"  ") {
				t.Errorf("no row for %s of %s:\n%s", c.name, s.name, out.String())
			}
		}
		stop()
	}
}
