-- What this service knows of restaurants: a replica, kept by their events.
CREATE TABLE menu (
  restaurant_id TEXT PRIMARY KEY,
  name          TEXT NOT NULL,
  version       INTEGER NOT NULL,
  items         TEXT NOT NULL  -- JSON: [{id, name, price, currency}]
) STRICT;
