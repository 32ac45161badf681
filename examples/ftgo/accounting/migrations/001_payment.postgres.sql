-- The payments of orders as their events tell them, kept in the transaction that
-- appends them, so that they can be read in batches and added up.
CREATE TABLE payment (
  order_id    text PRIMARY KEY,
  consumer_id text NOT NULL,
  total       bigint NOT NULL,  -- minor units
  currency    text NOT NULL,
  reversed    boolean NOT NULL
);
