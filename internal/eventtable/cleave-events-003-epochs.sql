-- The epochs of the table once there are more than one: that of es_meta is the last.
CREATE TABLE es_epoch (
  epoch  TEXT   PRIMARY KEY,
  behind BIGINT NOT NULL -- its records are behind this position
);
