package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cleave-go/cleave/internal/checkpoint"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/sqldb"
)

// DB opens this service's own database, with the event tables in it, and runs
// the *.sql of migrations that have not run yet; migrations may be nil. Asked
// again, it returns the same database. It is closed when the process has
// stopped.
func (h *Host) DB(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.db == nil {
		db, err := h.openDB(ctx)
		if err != nil {
			return nil, fmt.Errorf("database: %w", err)
		}
		h.db = db
		h.serveFeed()
	}
	if migrations == nil {
		return h.db, nil
	}
	return h.db, h.db.Migrate(ctx, migrations)
}

func (h *Host) openDB(ctx context.Context) (*sqldb.DB, error) {
	url := h.process.settings.databaseOf(h.name)
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
	}
	db, err := sqldb.Open(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	hide, err := h.showRelay(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	h.process.closers = append(h.process.closers, func() error { return errors.Join(hide(), db.Close()) })
	return db, eventtable.Setup(ctx, db)
}

// showRelay shows on /metrics how many of the service's events the bus has not
// confirmed. The relay notes its place every 2 s at the latest; a service
// without a bus apart from its table, or without a relay, shows nothing.
func (h *Host) showRelay(db *sqldb.DB) (hide func() error, err error) {
	lag, err := h.Meter().Int64ObservableGauge("cleave.relay.lag", metric.WithDescription("Events recorded that the bus has not confirmed."))
	if err != nil {
		return nil, err
	}
	of := metric.WithAttributes(attribute.String("service", h.name))
	shown, err := h.Meter().RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		at, err := checkpoint.Load(ctx, db, checkpoint.Relay(h.name))
		if err != nil || at.Position == 0 {
			return err
		}
		head, err := eventtable.Head(ctx, db)
		if err == nil {
			o.ObserveInt64(lag, max(0, int64(head)-int64(at.Position)), of)
		}
		return err
	}, lag)
	if err != nil {
		return nil, err
	}
	return shown.Unregister, nil
}
