-- Keeps aside the positions of deleted rows that Parquet files list.
CREATE OR REPLACE TEMP TABLE plain_deleted AS
SELECT file_path, pos FROM read_parquet($files, hive_partitioning => false)
