-- The event table of a service: what happened, in the order of positions. It is the outbox too.

-- One row. Positions of different epochs do not compare.
CREATE TABLE es_meta (
  one        int PRIMARY KEY CHECK (one = 1),
  epoch      text NOT NULL,
  created_at bigint NOT NULL -- this and all times: microseconds since 1970, UTC
);
-- Epochs sort by their beginning: it is the first 12 digits, in milliseconds.
INSERT INTO es_meta SELECT 1, lpad(to_hex(now / 1000), 12, '0') || left(replace(gen_random_uuid()::text, '-', ''), 20), now
  FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) t;

CREATE TABLE es_stream (
  tenant          text COLLATE "C" NOT NULL DEFAULT '',
  category        text COLLATE "C" NOT NULL,
  id              text COLLATE "C" NOT NULL,
  version         bigint NOT NULL, -- of its last event
  truncate_before bigint NOT NULL DEFAULT 0,
  archived_at     bigint,
  PRIMARY KEY (tenant, category, id)
) WITH (fillfactor = 80);

-- CACHE 1: a session that draws several at once would write low positions late.
CREATE SEQUENCE es_position AS bigint CACHE 1;

-- A row of category $gap stands for a position that nobody will ever use.
CREATE TABLE es_event (
  position    bigint PRIMARY KEY DEFAULT nextval('es_position'),
  event_id    bytea NOT NULL UNIQUE,
  tenant      text COLLATE "C" NOT NULL DEFAULT '',
  category    text COLLATE "C" NOT NULL,
  stream_id   text COLLATE "C" NOT NULL,
  version     bigint NOT NULL,
  type        text NOT NULL,
  schema      bigint NOT NULL,
  data        bytea NOT NULL, -- as it was given: jsonb would change it
  meta        text NOT NULL,  -- JSON
  recorded_at bigint NOT NULL,
  UNIQUE (tenant, category, stream_id, version)
);

-- For people: the data as text.
CREATE VIEW es_event_text AS
  SELECT position, category, stream_id, version, type, schema, convert_from(data, 'UTF8') AS data, meta,
    to_timestamp(recorded_at / 1000000.0) AS recorded_at FROM es_event WHERE category <> '$gap';

-- Where a consumer, a projection or a relay stands in a source; and who holds the lease.
CREATE TABLE es_checkpoint (
  name        text COLLATE "C" NOT NULL,
  version     bigint NOT NULL DEFAULT 0, -- of a projection
  source      text COLLATE "C" NOT NULL,
  lane        bigint NOT NULL DEFAULT 0,
  epoch       text COLLATE "C" NOT NULL DEFAULT '', -- of the source
  position    bigint NOT NULL DEFAULT 0,
  seq         bigint NOT NULL DEFAULT 0,            -- a hint: the sequence in the bus's stream
  owner       text NOT NULL DEFAULT '',
  fence       bigint NOT NULL DEFAULT 0,
  lease_until bigint NOT NULL DEFAULT 0,
  updated_at  bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (name, version, source, lane)
) WITH (fillfactor = 50);

-- The inbox of consumers without an order.
CREATE TABLE es_inbox_id (
  consumer text COLLATE "C" NOT NULL,
  event_id bytea NOT NULL,
  seen_at  bigint NOT NULL,
  PRIMARY KEY (consumer, event_id)
);
CREATE INDEX es_inbox_seen ON es_inbox_id (seen_at);
