-- One row where a plain catalog holds a lake's metadata: the schema that it lies in.
SELECT schema_name
FROM duckdb_tables()
WHERE database_name = $catalog AND schema_name IN ('main', 'public') AND table_name = 'ducklake_metadata'
