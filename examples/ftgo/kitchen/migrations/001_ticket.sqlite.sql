CREATE TABLE ticket (
  order_id      TEXT PRIMARY KEY,
  restaurant_id TEXT NOT NULL,
  consumer_id   TEXT NOT NULL,
  status        TEXT NOT NULL,
  before        TEXT NOT NULL,  -- the status that a pending cancellation or revision goes back to
  items         TEXT NOT NULL,  -- JSON
  proposed      TEXT NOT NULL,  -- JSON, while a revision is pending
  ready_by      TEXT,           -- RFC 3339
  accepted_at   TEXT            -- RFC 3339
) STRICT;

-- What this service knows of restaurants: a replica, kept by their events.
CREATE TABLE menu (
  restaurant_id TEXT PRIMARY KEY,
  version       INTEGER NOT NULL,
  item_ids      TEXT NOT NULL  -- JSON
) STRICT;
