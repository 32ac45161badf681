-- The payments of orders as their events tell them, kept in the transaction that
-- appends them, so that they can be read in batches and added up.
CREATE TABLE payment (
  order_id    TEXT PRIMARY KEY,
  consumer_id TEXT NOT NULL,
  total       INTEGER NOT NULL,  -- minor units
  currency    TEXT NOT NULL,
  reversed    INTEGER NOT NULL
) STRICT;
