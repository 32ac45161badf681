package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/bench/internal/lanes"
)

func BenchmarkBreaker(b *testing.B) {
	ctx := context.Background()
	for _, s := range sections {
		for _, c := range s.contenders {
			call, f, err := s.ready(c)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(s.name+"/serial/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = call(ctx, f)
				}
			})
			b.Run(s.name+"/parallel/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						_ = call(ctx, f)
					}
				})
			})
		}
	}
}

func TestTheTableHasARowForEachContender(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, lanes.Effort{Calls: 30_000, Least: 1, Most: 1}); err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		for _, c := range s.contenders {
			if !strings.Contains(out.String(), c.name+"  ") {
				t.Errorf("no row for %s of %s:\n%s", c.name, s.name, out.String())
			}
		}
	}
}
