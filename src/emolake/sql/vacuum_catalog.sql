-- Lets PostgreSQL reuse the space of what was deleted from a table of the catalog.
CALL postgres_execute('__ducklake_metadata_lake', $vacuum, use_transaction => false)
