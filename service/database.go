package service

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	h.process.closers = append(h.process.closers, db.Close)
	return db, eventtable.Setup(ctx, db)
}
