package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// job is a stage under way.
type job struct {
	line   *line
	result *Result
	in     inputs // set once it is known that they changed
}

// errDone ends a stage early that has nothing to do.
var errDone = errors.New("done")

// stage runs one stage and records what came of it.
func (l *line) stage(ctx context.Context, st Stage, service string, do func(context.Context, *job) error) error {
	r := Result{Stage: st, Service: service, Outcome: Passed}
	j := &job{line: l, result: &r}
	start := time.Now()
	label := strings.TrimSpace(string(st) + " " + service)
	l.opts.Say(label + " …")
	err := do(ctx, j)
	r.Seconds = seconds(start)
	var stopped *StageError
	switch {
	case errors.Is(err, errDone):
		err = nil
	case ctx.Err() != nil:
		return context.Cause(ctx) // says nothing about what was judged
	case err != nil:
		r.Outcome = Failed
		if !errors.As(err, &stopped) {
			step := Step{Name: string(st), Note: err.Error()}
			var out *outputError
			if errors.As(err, &out) {
				step.Name, step.Note, step.Output = "go list", "", out.output
			}
			r.Steps = append(r.Steps, step)
			stopped = &StageError{Stage: st, Service: service, Step: step, Err: err}
		}
		var need *NeedError
		if errors.As(err, &need) {
			need.Stage = st
		} else {
			err = stopped
		}
	}
	if j.in != nil && (r.Outcome == Passed || r.Outcome == Failed) {
		if kept := l.cache.keep(st, service, j.in, r); kept != nil {
			err = errors.Join(err, fmt.Errorf("keep the result: %w", kept))
		}
	}
	l.report.Results = append(l.report.Results, r)
	l.opts.Done(r)
	return err
}

// changed looks whether the stage passed before with these inputs: then errDone
// ends it.
func (j *job) changed(in inputs) error {
	before, why, ok := j.line.cache.find(j.result.Stage, j.result.Service, in)
	if ok && !j.line.opts.Force {
		j.result.Outcome, j.result.Why = Unchanged, "it passed before with the same inputs"
		j.result.Steps, j.result.Artifact = before.Steps, before.Artifact
		return errDone
	}
	if ok {
		why = "asked to run again"
	}
	j.in, j.result.Why = in, why
	return nil
}

// skip ends the stage with a word why.
func (j *job) skip(format string, args ...any) error {
	j.result.Outcome, j.result.Why = Skipped, fmt.Sprintf(format, args...)
	return errDone
}

// step does one thing. What it returns are a note on what was done,
// output, and what went wrong.
func (j *job) step(name, command string, do func() (note, output string, err error)) error {
	j.line.opts.Say("  " + name)
	start := time.Now()
	note, out, err := do()
	s := Step{Name: name, Command: command, Note: note, OK: err == nil, Seconds: seconds(start), Output: out}
	if err != nil {
		s.Note = err.Error()
	}
	j.result.Steps = append(j.result.Steps, s)
	if err != nil {
		return &StageError{Stage: j.result.Stage, Service: j.result.Service, Step: s, Err: err}
	}
	return nil
}

// run is a step that is a command.
func (j *job) run(ctx context.Context, name, note string, c command) error {
	return j.step(name, strings.Join(c.args, " "), func() (string, string, error) {
		_, all, err := c.run(ctx)
		return note, all, err
	})
}

// walkFolders calls see for the folders below dir, hidden ones and testdata left
// out.
func walkFolders(dir string, see func(dir string) error) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case name != dir && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		}
		return see(name)
	})
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
