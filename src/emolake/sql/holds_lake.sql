-- One row where a plain catalog holds a lake's metadata, in the schema that DuckLake looks into.
SELECT 1
FROM duckdb_tables()
WHERE database_name = $catalog AND schema_name IN ('main', 'public') AND table_name = 'ducklake_metadata'
