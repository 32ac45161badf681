-- The sagas of an orchestrator. state: running, compensating, completed,
-- rolled-back. Times are milliseconds since 1970.
CREATE TABLE saga_instance (
  id         TEXT    NOT NULL PRIMARY KEY,
  kind       TEXT    NOT NULL,               -- the saga's name
  key        TEXT    NOT NULL,
  version    INTEGER NOT NULL,               -- compare and set
  state      TEXT    NOT NULL,
  step       TEXT    NOT NULL,
  data       TEXT    NOT NULL,               -- JSON
  progress   TEXT    NOT NULL,               -- JSON
  meta       TEXT    NOT NULL,               -- JSON: correlation, actor, trace
  due_at     INTEGER,
  stuck      INTEGER NOT NULL DEFAULT 0,
  error      TEXT    NOT NULL DEFAULT '',
  started_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (kind, key)
);
CREATE INDEX saga_due ON saga_instance (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX saga_stuck ON saga_instance (updated_at) WHERE stuck <> 0;

-- The answers of a participant: a repeated command gets the same one.
CREATE TABLE saga_reply (
  command     TEXT    NOT NULL PRIMARY KEY,
  reply       TEXT    NOT NULL,              -- JSON
  answered_at INTEGER NOT NULL
);
CREATE INDEX saga_reply_age ON saga_reply (answered_at);
