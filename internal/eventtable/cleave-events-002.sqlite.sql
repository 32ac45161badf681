-- The state of a stream after one of its events, in place of those before it. One row a stream.
CREATE TABLE es_snapshot (
  tenant      TEXT NOT NULL DEFAULT '',
  category    TEXT NOT NULL,
  stream_id   TEXT NOT NULL,
  version     INTEGER NOT NULL, -- of the event, as position and recorded_at
  position    INTEGER NOT NULL,
  recorded_at INTEGER NOT NULL,
  schema      INTEGER NOT NULL, -- of the state
  state       BLOB NOT NULL,
  PRIMARY KEY (tenant, category, stream_id)
) STRICT;
