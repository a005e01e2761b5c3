-- Keeps aside that no row was deleted.
CREATE OR REPLACE TEMP TABLE plain_deleted (file VARCHAR, pos BIGINT)
