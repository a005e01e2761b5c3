-- One row per column that any of some Parquet files has.
SELECT DISTINCT column_name
FROM (DESCRIBE FROM read_parquet($files, union_by_name => true, hive_partitioning => false))
