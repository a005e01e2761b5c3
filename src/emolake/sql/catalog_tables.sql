-- One row per table of a PostgreSQL catalog.
FROM postgres_query('server', '
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = current_schema() AND starts_with(table_name, ''ducklake_'')
')
