CREATE TABLE restaurant (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,  -- newest first is seq descending
  id           TEXT NOT NULL UNIQUE,
  name         TEXT NOT NULL,
  address      TEXT NOT NULL,    -- JSON
  menu         TEXT NOT NULL,    -- JSON
  menu_version INTEGER NOT NULL,
  search       TEXT NOT NULL     -- name and menu items in lower case, a line each
) STRICT;
