-- What this service knows of restaurants: a replica, kept by their events.
CREATE TABLE menu (
  restaurant_id text PRIMARY KEY,
  name          text NOT NULL,
  version       bigint NOT NULL,
  items         text NOT NULL  -- JSON: [{id, name, price, currency}]
);
