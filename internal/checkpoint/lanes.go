package checkpoint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// ErrRetired says that the places of this version were removed for good.
var ErrRetired = errors.New("the version is retired: a newer one has taken its place")

// base is the lane of the row that stands for all lanes of a key: who changes
// the layout holds it, its fence is the layout's generation, and its place is
// the mark of Past.
const base = -1

// retired is the generation of a key whose places were removed.
const retired = -1

// Compare returns -1, 0 or 1 as a is before, at or behind b.
func (a At) Compare(b At) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Position, b.Position))
}

// Layout is how the streams of a consumer are spread over lanes.
type Layout struct {
	Lanes []Lane // never empty after Open
	Past  At     // what earlier builds of the consumer have done

	retired bool
}

// Low returns the lowest place: everything up to there is done in all lanes.
func (l Layout) Low() At {
	if len(l.Lanes) == 0 {
		return At{}
	}
	return slices.MinFunc(l.Lanes, func(a, b Lane) int { return a.At.Compare(b.At) }).At
}

// past returns up to where this and earlier builds have done everything.
func (l Layout) past() At {
	if low := l.Low(); l.Past.Compare(low) < 0 {
		return low
	}
	return l.Past
}

// Same reports whether the lanes are of one generation.
func (l Layout) Same(as Layout) bool {
	return slices.EqualFunc(l.Lanes, as.Lanes, func(a, b Lane) bool { return a.Index == b.Index && a.Generation == b.Generation })
}

// Lane is one of the lanes of a consumer: the streams whose event lane, modulo
// Of, is Index.
type Lane struct {
	Index, Of  int
	Generation int64
	At         At
	Done       []Done
}

// Done says that what lane Lane of a layout of Of lanes had done goes beyond
// the place of the row that holds it.
type Done struct {
	Of       int            `json:"of"`
	Lane     int            `json:"lane"`
	Epoch    string         `json:"epoch"`
	Position event.Position `json:"position"`
}

func (d Done) at() At { return At{Epoch: d.Epoch, Position: d.Position} }

// Has reports whether the message of s at a place is done.
func (l Lane) Has(s event.Stream, at At) bool {
	if at.Compare(l.At) <= 0 {
		return true
	}
	return slices.ContainsFunc(l.Done, func(d Done) bool {
		return at.Compare(d.at()) <= 0 && s.Lane()%d.Of == d.Lane
	})
}

// ReadLayout returns the layout of k, without lanes before the first Open.
func ReadLayout(ctx context.Context, q sqldb.Queryer, k Key) (Layout, error) {
	all, err := readLayouts(ctx, q, `WHERE name = ? AND version = ? AND source = ? ORDER BY lane`, k.Name, k.Version, k.Source)
	if err != nil {
		return Layout{}, err
	}
	if l := all[k]; l != nil {
		if l.retired {
			return Layout{}, ErrRetired
		}
		return *l, nil
	}
	return Layout{}, nil
}

// Hold returns lane index of generation of, and keeps it from moving until the
// transaction ends. The error is sql.ErrNoRows when there is no such lane. It
// reads no row but that one, so that the lanes of a consumer do not thwart each
// other's serializable transactions.
func Hold(ctx context.Context, tx sqldb.Tx, k Key, index, of int, generation int64) (Lane, error) {
	l := Lane{Index: index, Of: of, Generation: generation}
	text := `SELECT epoch, position, seq, done FROM es_checkpoint WHERE name = ? AND version = ? AND source = ? AND lane = ? AND fence = ?`
	if sqldb.DialectOf(tx) == sqldb.PostgreSQL {
		text += ` FOR UPDATE`
	}
	var done string
	err := tx.QueryRowContext(ctx, text, k.Name, k.Version, k.Source, index, generation).Scan(&l.At.Epoch, &l.At.Position, &l.At.Seq, &done)
	if err == nil && done != "" {
		err = json.Unmarshal([]byte(done), &l.Done)
	}
	return l, err
}

// ReadLayouts returns the layouts of all versions and sources of a name.
// Those that were retired have no lanes.
func ReadLayouts(ctx context.Context, q sqldb.Queryer, name string) (map[Key]*Layout, error) {
	return readLayouts(ctx, q, `WHERE name = ? ORDER BY version, source, lane`, name)
}

func readLayouts(ctx context.Context, q sqldb.Queryer, which string, args ...any) (map[Key]*Layout, error) {
	rows, err := q.QueryContext(ctx, `SELECT name, version, source, lane, epoch, position, seq, fence, done FROM es_checkpoint `+which, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[Key]*Layout{}
	for rows.Next() {
		var k Key
		var l Lane
		var done string
		if err := rows.Scan(&k.Name, &k.Version, &k.Source, &l.Index, &l.At.Epoch, &l.At.Position, &l.At.Seq, &l.Generation, &done); err != nil {
			return nil, err
		}
		to := all[k]
		if to == nil {
			to = &Layout{}
			all[k] = to
		}
		if l.Index == base {
			to.Past, to.retired = l.At, l.Generation == retired
			continue
		}
		if done != "" {
			if err := json.Unmarshal([]byte(done), &l.Done); err != nil {
				return nil, fmt.Errorf("what other lanes had done: %w", err)
			}
		}
		to.Lanes = append(to.Lanes, l)
	}
	for _, l := range all {
		for i := range l.Lanes {
			l.Lanes[i].Of = len(l.Lanes)
		}
	}
	return all, rows.Err()
}

// Past reports whether an older version of k, or k before it was reset, has
// done the message of s at a place.
func Past(ctx context.Context, q sqldb.Queryer, k Key, s event.Stream, at At) (bool, error) {
	all, err := ReadLayouts(ctx, q, k.Name)
	if err != nil {
		return false, err
	}
	for other, l := range all {
		if other.Source != k.Source || other.Version > k.Version {
			continue
		}
		if at.Compare(l.Past) <= 0 {
			return true, nil
		}
		if n := len(l.Lanes); other.Version < k.Version && n > 0 && l.Lanes[s.Lane()%n].Has(s, at) {
			return true, nil
		}
	}
	return false, nil
}

// Open returns the layout of k, after having made it one of so many lanes; 0
// leaves it as it is. A change of their number is safe while others work: they
// find that their generation has passed.
func Open(ctx context.Context, tx sqldb.Tx, k Key, lanes int) (Layout, error) {
	if err := hold(ctx, tx, k); err != nil {
		return Layout{}, err
	}
	old, err := ReadLayout(ctx, tx, k)
	if err != nil || len(old.Lanes) > 0 && (lanes == 0 || lanes == len(old.Lanes)) {
		return old, err
	}
	return arrange(ctx, tx, k, old, max(lanes, 1))
}

// hold keeps everybody else from changing k, and its lanes from moving, until
// the transaction ends.
func hold(ctx context.Context, tx sqldb.Tx, k Key) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO es_checkpoint (name, version, source, lane) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		k.Name, k.Version, k.Source, base)
	if err == nil {
		_, err = tx.ExecContext(ctx, `UPDATE es_checkpoint SET updated_at = updated_at WHERE name = ? AND version = ? AND source = ? AND lane = ?`,
			k.Name, k.Version, k.Source, base)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `UPDATE es_checkpoint SET updated_at = updated_at WHERE name = ? AND version = ? AND source = ? AND lane >= 0`,
			k.Name, k.Version, k.Source)
	}
	return err
}

// arrange replaces the lanes. Each new one begins at the lowest place and
// remembers what the old ones had done beyond it.
func arrange(ctx context.Context, tx sqldb.Tx, k Key, old Layout, lanes int) (Layout, error) {
	low := old.Low()
	var done []Done
	var generation int64
	for _, l := range old.Lanes {
		generation = l.Generation + 1
		if len(old.Lanes) > 1 {
			l.Done = append(l.Done, Done{len(old.Lanes), l.Index, l.At.Epoch, l.At.Position})
		}
		for _, d := range l.Done {
			if d.at().Compare(low) > 0 && !slices.Contains(done, d) {
				done = append(done, d)
			}
		}
	}
	all := Layout{Past: old.Past}
	for i := range lanes {
		all.Lanes = append(all.Lanes, Lane{Index: i, Of: lanes, Generation: generation, At: low, Done: done})
	}
	return all, all.replace(ctx, tx, k)
}

// replace writes all lanes of k anew.
func (l Layout) replace(ctx context.Context, tx sqldb.Tx, k Key) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM es_checkpoint WHERE name = ? AND version = ? AND source = ? AND lane >= 0`,
		k.Name, k.Version, k.Source); err != nil {
		return err
	}
	for _, lane := range l.Lanes {
		done, err := encodeDone(lane.Done)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO es_checkpoint (name, version, source, lane, epoch, position, seq, fence, done, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, k.Name, k.Version, k.Source, lane.Index,
			lane.At.Epoch, int64(lane.At.Position), int64(lane.At.Seq), lane.Generation, done, time.Now().UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

func encodeDone(done []Done) (string, error) {
	if len(done) == 0 {
		return "", nil
	}
	text, err := json.Marshal(done)
	return string(text), err
}

// Move moves the lane to a place, and reports false, having done nothing, when
// it is not where l says or of another generation.
func (l Lane) Move(ctx context.Context, tx sqldb.Tx, k Key, to At) (bool, error) {
	done, err := encodeDone(slices.DeleteFunc(slices.Clone(l.Done), func(d Done) bool { return d.at().Compare(to) <= 0 }))
	if err != nil {
		return false, err
	}
	res, err := tx.ExecContext(ctx, `UPDATE es_checkpoint SET epoch = ?, position = ?, seq = ?, done = ?, updated_at = ?
		WHERE name = ? AND version = ? AND source = ? AND lane = ? AND fence = ? AND epoch = ? AND position = ?`,
		to.Epoch, int64(to.Position), int64(to.Seq), done, time.Now().UnixMicro(),
		k.Name, k.Version, k.Source, l.Index, l.Generation, l.At.Epoch, int64(l.At.Position))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Reset takes k back to before the first message, whoever works on it, and
// marks what was done as past.
func Reset(ctx context.Context, tx sqldb.Tx, k Key) error {
	if err := hold(ctx, tx, k); err != nil {
		return err
	}
	old, err := ReadLayout(ctx, tx, k)
	if err != nil {
		return err
	}
	past := old.past()
	for i := range old.Lanes {
		old.Lanes[i] = Lane{Index: i, Of: len(old.Lanes), Generation: old.Lanes[i].Generation + 1}
	}
	if err := old.replace(ctx, tx, k); err != nil {
		return err
	}
	return mark(ctx, tx, k, past, 0)
}

// Retire removes the places of k for good. Those who work on it get ErrRetired.
func Retire(ctx context.Context, tx sqldb.Tx, k Key) error {
	if err := hold(ctx, tx, k); err != nil {
		return err
	}
	old, err := ReadLayout(ctx, tx, k)
	if errors.Is(err, ErrRetired) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := (Layout{}).replace(ctx, tx, k); err != nil {
		return err
	}
	return mark(ctx, tx, k, old.past(), retired)
}

func mark(ctx context.Context, tx sqldb.Tx, k Key, past At, generation int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE es_checkpoint SET epoch = ?, position = ?, fence = ? WHERE name = ? AND version = ? AND source = ? AND lane = ?`,
		past.Epoch, int64(past.Position), generation, k.Name, k.Version, k.Source, base)
	return err
}
