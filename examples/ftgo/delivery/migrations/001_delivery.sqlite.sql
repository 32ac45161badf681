CREATE TABLE courier (
  id        TEXT PRIMARY KEY,
  available INTEGER NOT NULL
) STRICT;

CREATE TABLE delivery (
  seq           INTEGER PRIMARY KEY AUTOINCREMENT,  -- who waits longest goes first
  order_id      TEXT NOT NULL UNIQUE,
  consumer_id   TEXT NOT NULL,
  restaurant_id TEXT NOT NULL,
  status        TEXT NOT NULL,
  courier_id    TEXT NOT NULL DEFAULT '',   -- empty: none yet
  ready         INTEGER NOT NULL DEFAULT 0, -- the food is
  pick_up_time  TEXT,                       -- RFC 3339: promised, then actual
  delivery_time TEXT                        -- RFC 3339
) STRICT;

CREATE INDEX delivery_courier ON delivery (courier_id, status);
