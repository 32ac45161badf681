CREATE TABLE consumer (
  id           text PRIMARY KEY,
  first_name   text NOT NULL,
  last_name    text NOT NULL,
  card_token   text NOT NULL,   -- empty: no card yet
  card_version bigint NOT NULL  -- 0: no card yet
);
