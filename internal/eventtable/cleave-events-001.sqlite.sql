-- The event table of a service: what happened, in commit order. It is the outbox too.

-- One row. Positions of different epochs do not compare.
CREATE TABLE es_meta (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  epoch      TEXT NOT NULL,
  created_at INTEGER NOT NULL -- this and all times: microseconds since 1970, UTC
) STRICT;
-- Epochs sort by their beginning: it is the first 12 digits, in milliseconds.
INSERT INTO es_meta VALUES (1, printf('%012x', CAST(unixepoch('subsec') * 1000 AS INTEGER)) || lower(hex(randomblob(10))),
  CAST(unixepoch('subsec') * 1000000 AS INTEGER));

CREATE TABLE es_stream (
  tenant          TEXT NOT NULL DEFAULT '',
  category        TEXT NOT NULL,
  id              TEXT NOT NULL,
  version         INTEGER NOT NULL, -- of its last event
  truncate_before INTEGER NOT NULL DEFAULT 0,
  archived_at     INTEGER,
  PRIMARY KEY (tenant, category, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE es_event (
  position    INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, even after a delete
  event_id    BLOB NOT NULL UNIQUE,
  tenant      TEXT NOT NULL DEFAULT '',
  category    TEXT NOT NULL,
  stream_id   TEXT NOT NULL,
  version     INTEGER NOT NULL,
  type        TEXT NOT NULL,
  schema      INTEGER NOT NULL,
  data        BLOB NOT NULL,
  meta        TEXT NOT NULL, -- JSON
  recorded_at INTEGER NOT NULL,
  UNIQUE (tenant, category, stream_id, version)
) STRICT;

-- Where a consumer, a projection or a relay stands in a source; and who holds the lease.
CREATE TABLE es_checkpoint (
  name        TEXT NOT NULL,
  version     INTEGER NOT NULL DEFAULT 0, -- of a projection
  source      TEXT NOT NULL,
  lane        INTEGER NOT NULL DEFAULT 0,
  epoch       TEXT NOT NULL DEFAULT '',   -- of the source
  position    INTEGER NOT NULL DEFAULT 0,
  seq         INTEGER NOT NULL DEFAULT 0, -- a hint: the sequence in the bus's stream
  owner       TEXT NOT NULL DEFAULT '',
  fence       INTEGER NOT NULL DEFAULT 0,
  lease_until INTEGER NOT NULL DEFAULT 0,
  updated_at  INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (name, version, source, lane)
) STRICT, WITHOUT ROWID;

-- The inbox of consumers without an order.
CREATE TABLE es_inbox_id (
  consumer TEXT NOT NULL,
  event_id BLOB NOT NULL,
  seen_at  INTEGER NOT NULL,
  PRIMARY KEY (consumer, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX es_inbox_seen ON es_inbox_id (seen_at);
