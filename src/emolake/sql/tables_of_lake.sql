-- One row per table of the attached lake.
SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'
