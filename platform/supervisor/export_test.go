package supervisor

import (
	"context"
	"io"
	"os"
)

// What tests reach of the inside.

func Guard(in io.Reader) error { return guard(in) }

func Tail(name string, n int) ([]string, int64) { return tail(name, n) }

func Follow(ctx context.Context, name string, from int64, line func(string) error) error {
	return follow(ctx, name, from, line)
}

func Rotate(name string) error { return rotate(name) }

const MaxLog = maxLog

func BirthOf(pid int) string { return birthOf(pid) }

func Lives(pid int, birth string) bool { return lives(pid, birth) }

// HeldSocket opens an address as the supervisor does and returns what a program
// would inherit.
func HeldSocket(address string) (*os.File, func(), error) {
	var s sockets
	if err := s.hold(address, "test"); err != nil {
		return nil, nil, err
	}
	f, err := s.file(address)
	return f, s.close, err
}

func Build(ctx context.Context, dir string, packages ...string) (map[string]string, error) {
	l := Layout{dir}
	if err := l.create(); err != nil {
		return nil, err
	}
	built, err := build(ctx, l, packages)
	paths := map[string]string{}
	for p, a := range built {
		paths[p] = a.path
	}
	return paths, err
}

func Clean(dir string, used ...string) {
	set := map[string]bool{}
	for _, f := range used {
		set[f] = true
	}
	clean(Layout{dir}, set)
}

func Inherited() []string { return inherited() }
