-- One row per column of the lake's tables and views, in their order, with its type; views that a reader makes for itself
-- hide those of the lake.
SELECT table_name, column_name, data_type
FROM duckdb_columns()
WHERE (database_name = 'lake' AND schema_name = 'main' OR database_name = 'temp') AND NOT internal
QUALIFY rank() OVER (PARTITION BY table_name ORDER BY database_name = 'lake') = 1
ORDER BY table_name, column_index
