package supervisor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// An instance's log is cut when it passes maxLog; the part before is kept once.
const (
	maxLog      = 8 << 20
	maxTail     = 1 << 20
	maxTailLine = 16 << 10
)

// openLog opens a log for a process to append to by itself: its last words are
// in the file even when the supervisor is gone.
func openLog(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// rotate keeps a log below its bound: the content moves to NAME.1 and the file,
// which the process has open, starts anew.
func rotate(name string) error {
	info, err := os.Stat(name)
	if err != nil || info.Size() < maxLog {
		return err
	}
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(name+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	if err := os.Truncate(name, 0); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

// tail returns the last n whole lines of a log and where they end.
func tail(name string, n int) (lines []string, end int64) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0
	}
	from := max(0, info.Size()-maxTail)
	data := make([]byte, info.Size()-from)
	if k, err := f.ReadAt(data, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0
	} else {
		data = data[:k]
	}
	last := bytes.LastIndexByte(data, '\n') + 1
	end = from + int64(last)
	for _, line := range bytes.SplitAfter(data[:last], []byte("\n")) {
		if len(line) > 0 {
			lines = append(lines, text(line))
		}
	}
	if from > 0 && len(lines) > 0 {
		lines = lines[1:] // its beginning is cut off
	}
	return lines[max(0, len(lines)-n):], end
}

// follow calls line for each line behind from, until ctx ends or line fails.
func follow(ctx context.Context, name string, from int64, line func(string) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var err error
		if from, err = readOn(name, from, line); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func readOn(name string, from int64, line func(string) error) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return from, nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() < from {
		from = 0 // cut meanwhile
	}
	buf := make([]byte, 64<<10)
	for {
		n, _ := f.ReadAt(buf, from)
		last := bytes.LastIndexByte(buf[:n], '\n') + 1
		if last == 0 && n == len(buf) {
			last = n // a line longer than the buffer comes in parts
		}
		if last == 0 {
			return from, nil
		}
		for _, l := range bytes.SplitAfter(buf[:last], []byte("\n")) {
			if len(l) == 0 {
				continue
			}
			if err := line(text(l)); err != nil {
				return from, err
			}
		}
		from += int64(last)
	}
}

// text makes a line fit for a message: bounded, valid UTF-8, without its end.
func text(line []byte) string {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) > maxTailLine {
		line = append(line[:maxTailLine:maxTailLine], "…"...)
	}
	return string(bytes.ToValidUTF8(line, []byte("\uFFFD")))
}
