-- One row per column of the attached lake.
SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake'
