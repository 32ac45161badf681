-- The version of the definition that a saga was started with.
ALTER TABLE saga_instance ADD COLUMN definition BIGINT NOT NULL DEFAULT 0;
CREATE INDEX saga_changed ON saga_instance (state, updated_at);
