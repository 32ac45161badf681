-- The sagas of an orchestrator. state: running, compensating, completed,
-- rolled-back. Times are milliseconds since 1970.
CREATE TABLE saga_instance (
  id         text COLLATE "C" NOT NULL PRIMARY KEY,
  kind       text NOT NULL,              -- the saga's name
  key        text NOT NULL,
  version    bigint NOT NULL,            -- compare and set
  state      text NOT NULL,
  step       text NOT NULL,
  data       text NOT NULL,              -- JSON
  progress   text NOT NULL,              -- JSON
  meta       text NOT NULL,              -- JSON: correlation, actor, trace
  due_at     bigint,
  stuck      bigint NOT NULL DEFAULT 0,
  error      text NOT NULL DEFAULT '',
  started_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  UNIQUE (kind, key)
);
CREATE INDEX saga_due ON saga_instance (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX saga_stuck ON saga_instance (updated_at) WHERE stuck <> 0;

-- The answers of a participant: a repeated command gets the same one.
CREATE TABLE saga_reply (
  command     text COLLATE "C" NOT NULL PRIMARY KEY,
  reply       text NOT NULL,             -- JSON
  answered_at bigint NOT NULL
);
CREATE INDEX saga_reply_age ON saga_reply (answered_at);
