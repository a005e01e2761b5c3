-- Keeps aside the positions of deleted rows that Parquet files list. Those name a file by the path that it was written at,
-- which is another one where a lake was moved: the catalog says which file is meant.
CREATE OR REPLACE TEMP TABLE plain_deleted AS
SELECT list_extract($files::VARCHAR[], list_position($deletes::VARCHAR[], filename)) AS file, pos
FROM read_parquet($deletes, hive_partitioning => false, filename => true)
