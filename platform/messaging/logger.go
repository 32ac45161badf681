package messaging

import (
	"fmt"
	"log/slog"
)

// logger writes the server's log to a slog.Logger, and tells why the server
// gave up: its own way of doing so is to log and go on without listening.
type logger struct {
	*slog.Logger
	fatal chan string
}

func (l logger) Noticef(f string, v ...any) { l.Debug("broker", "text", fmt.Sprintf(f, v...)) }
func (l logger) Warnf(f string, v ...any)   { l.Warn("broker", "text", fmt.Sprintf(f, v...)) }
func (l logger) Errorf(f string, v ...any)  { l.Error("broker", "text", fmt.Sprintf(f, v...)) }
func (l logger) Debugf(f string, v ...any)  { l.Debug("broker", "text", fmt.Sprintf(f, v...)) }
func (l logger) Tracef(f string, v ...any)  { l.Debug("broker", "text", fmt.Sprintf(f, v...)) }

func (l logger) Fatalf(f string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(f, v...):
	default:
	}
}
