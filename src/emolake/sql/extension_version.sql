-- One row: the versions of DuckDB and of its DuckLake extension.
SELECT version(), extension_version FROM duckdb_extensions() WHERE extension_name = 'ducklake'
