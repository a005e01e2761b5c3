-- Takes erased URIs and identifiers out of the catalog's bounds of whole columns, which no deletion narrows by itself.
UPDATE __ducklake_metadata_lake.ducklake_table_column_stats
SET min_value = bounds.min_value, max_value = bounds.max_value
FROM bounds
WHERE ducklake_table_column_stats.table_id = bounds.table_id
  AND ducklake_table_column_stats.column_id = bounds.column_id
