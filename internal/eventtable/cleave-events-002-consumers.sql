-- What consumers, sagas' and views' among them, keep besides their places.

-- JSON: what lanes of an earlier layout had done beyond this place.
ALTER TABLE es_checkpoint ADD COLUMN done TEXT NOT NULL DEFAULT '';

-- Streams that a consumer has set aside, each behind a message that it cannot handle.
CREATE TABLE es_parked (
  name      TEXT   NOT NULL,
  version   BIGINT NOT NULL,
  source    TEXT   NOT NULL,
  category  TEXT   NOT NULL,
  stream_id TEXT   NOT NULL,
  epoch     TEXT   NOT NULL, -- with position, of the message that failed
  position  BIGINT NOT NULL,
  kept      BIGINT NOT NULL, -- messages in es_parked_message
  tries     BIGINT NOT NULL, -- to resume it
  error     TEXT   NOT NULL,
  parked_at BIGINT NOT NULL,
  due_at    BIGINT NOT NULL, -- when it is resumed by itself; 0: never
  PRIMARY KEY (name, version, source, category, stream_id)
);

-- The messages of those streams, from the one that failed.
CREATE TABLE es_parked_message (
  name           TEXT   NOT NULL,
  version        BIGINT NOT NULL,
  source         TEXT   NOT NULL,
  category       TEXT   NOT NULL,
  stream_id      TEXT   NOT NULL,
  epoch          TEXT   NOT NULL,
  position       BIGINT NOT NULL,
  subject        TEXT   NOT NULL,
  event_id       TEXT   NOT NULL,
  stream_version BIGINT NOT NULL,
  type           TEXT   NOT NULL,
  schema         BIGINT NOT NULL,
  recorded_at    BIGINT NOT NULL,
  meta           TEXT   NOT NULL, -- JSON
  data           BYTEA  NOT NULL,
  PRIMARY KEY (name, version, source, category, stream_id, epoch, position)
);
