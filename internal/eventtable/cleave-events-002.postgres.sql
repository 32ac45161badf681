-- The state of a stream after one of its events, in place of those before it. One row a stream.
CREATE TABLE es_snapshot (
  tenant      text COLLATE "C" NOT NULL DEFAULT '',
  category    text COLLATE "C" NOT NULL,
  stream_id   text COLLATE "C" NOT NULL,
  version     bigint NOT NULL, -- of the event, as position and recorded_at
  position    bigint NOT NULL,
  recorded_at bigint NOT NULL,
  schema      bigint NOT NULL, -- of the state
  state       bytea NOT NULL,
  PRIMARY KEY (tenant, category, stream_id)
);
