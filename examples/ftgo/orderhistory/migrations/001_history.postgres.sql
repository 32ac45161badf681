CREATE TABLE history (
  id               text PRIMARY KEY,
  consumer_id      text NOT NULL,
  restaurant_id    text NOT NULL,
  status           text NOT NULL,
  rejection_reason text NOT NULL DEFAULT '',
  placed_at        bigint NOT NULL,  -- nanoseconds since 1970
  line_items       text NOT NULL,    -- JSON
  total            text NOT NULL,    -- JSON
  delivery_address text NOT NULL,    -- JSON
  delivery_time    bigint,           -- nanoseconds since 1970
  restaurant_name  text NOT NULL,
  search           text NOT NULL     -- names in lower case, a line each
);

CREATE INDEX history_consumer ON history (consumer_id, placed_at DESC, id DESC);
