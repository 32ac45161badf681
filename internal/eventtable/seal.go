package eventtable

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// How long a seal waits for the transaction that holds a position: long at
// first, which is when nearly all of them end; then it gives its connection back
// and asks again and again.
const (
	patience     = time.Second
	shortWait    = 50 * time.Millisecond
	pause        = 200 * time.Millisecond
	logEvery     = 10 * time.Second
	maxSealed    = 10_000 // positions in one statement
	lockTimedOut = "55P03"
	readOnly     = "25006"
)

// sealer closes holes: positions that were drawn and have no row yet. Their
// transaction is under way, or it was undone, or its process is dead; nobody can
// tell by looking. But a row in that place waits for exactly the transaction that
// holds it, and keeps the position from being used if that is undone. A writer
// that drew the number and has not come to write it is refused and draws another.
type sealer struct{ db *sqldb.DB }

const sealRange = `/* seal es_event */ WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', ?, true))
	INSERT INTO es_event (position, event_id, category, stream_id, version, type, schema, data, meta, recorded_at)
	SELECT p, uuid_send(gen_random_uuid()), '` + gap + `', '', p, '` + gap + `', 0, '', '{}', ?
	FROM patience, generate_series(?::bigint, ?::bigint) p ON CONFLICT DO NOTHING`

// seal returns when no transaction can use a position from first to last any
// more. What has a row then has it for good.
func (s *sealer) seal(ctx context.Context, first, last event.Position) error {
	started, logged := time.Now(), time.Time{}
	for wait := patience; first <= last; {
		upTo := min(last, first+maxSealed-1)
		var blocked sync.WaitGroup
		by := ""
		if wait == shortWait && time.Since(logged) > logEvery {
			logged = time.Now()
			blocked.Go(func() { by = s.blockers(ctx) })
		}
		err := s.try(ctx, wait, first, upTo)
		blocked.Wait()
		if by != "" {
			slog.WarnContext(ctx, "feed waits for a transaction that holds a position", "position", first, "waited", time.Since(started).Round(time.Millisecond), "transaction", by)
		}
		switch sqlState(err) {
		case "":
			if err != nil {
				return err
			}
			first = upTo + 1
		case lockTimedOut, readOnly: // a standby waits until a reader of the primary has sealed
			wait = shortWait
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

func (s *sealer) try(ctx context.Context, wait time.Duration, first, last event.Position) error {
	return s.db.Write(ctx, sealRange, []any{wait.String(), time.Now().UnixMicro(), int64(first), int64(last)}, nil)
}

// blockers names the transactions that seals of this database wait for now. It
// asks a few times: the seal has to be waiting.
func (s *sealer) blockers(ctx context.Context) string {
	var by *string
	for range 4 {
		if sleep(ctx, shortWait/5) != nil {
			return ""
		}
		err := s.db.QueryRowContext(ctx, `SELECT string_agg(DISTINCT format('pid %s (%s, %s, begun %s)', a.pid, coalesce(nullif(a.application_name, ''), '-'),
				coalesce(a.state, '-'), coalesce(a.xact_start::text, '-')), ', ')
			FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b(pid) JOIN pg_stat_activity a ON a.pid = b.pid
			WHERE w.datname = current_database() AND w.query LIKE '/* seal es_event */%' AND w.wait_event_type = 'Lock'`).Scan(&by)
		if err == nil && by != nil {
			return *by
		}
	}
	return "not found"
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
