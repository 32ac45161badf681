CREATE TABLE ticket (
  order_id      text PRIMARY KEY,
  restaurant_id text NOT NULL,
  consumer_id   text NOT NULL,
  status        text NOT NULL,
  before        text NOT NULL,  -- the status that a pending cancellation or revision goes back to
  items         text NOT NULL,  -- JSON
  proposed      text NOT NULL,  -- JSON, while a revision is pending
  ready_by      text,           -- RFC 3339
  accepted_at   text            -- RFC 3339
);

-- What this service knows of restaurants: a replica, kept by their events.
CREATE TABLE menu (
  restaurant_id text PRIMARY KEY,
  version       bigint NOT NULL,
  item_ids      text NOT NULL  -- JSON
);
