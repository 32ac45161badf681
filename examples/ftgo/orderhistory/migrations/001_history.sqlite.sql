CREATE TABLE history (
  id               TEXT PRIMARY KEY,
  consumer_id      TEXT NOT NULL,
  restaurant_id    TEXT NOT NULL,
  status           TEXT NOT NULL,
  rejection_reason TEXT NOT NULL DEFAULT '',
  placed_at        INTEGER NOT NULL,  -- nanoseconds since 1970
  line_items       TEXT NOT NULL,     -- JSON
  total            TEXT NOT NULL,     -- JSON
  delivery_address TEXT NOT NULL,     -- JSON
  delivery_time    INTEGER,           -- nanoseconds since 1970
  restaurant_name  TEXT NOT NULL,
  search           TEXT NOT NULL      -- names in lower case, a line each
) STRICT;

CREATE INDEX history_consumer ON history (consumer_id, placed_at DESC, id DESC);
