CREATE TABLE consumer (
  id           TEXT PRIMARY KEY,
  first_name   TEXT NOT NULL,
  last_name    TEXT NOT NULL,
  card_token   TEXT NOT NULL,    -- empty: no card yet
  card_version INTEGER NOT NULL  -- 0: no card yet
) STRICT;
