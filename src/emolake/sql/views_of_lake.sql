-- One row per view of the attached lake, with what its catalog says of it.
SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'lake'
