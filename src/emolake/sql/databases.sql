-- One row per database of a PostgreSQL server.
SELECT datname FROM {catalog}.pg_catalog.pg_database
