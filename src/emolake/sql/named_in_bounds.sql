-- One row per bound of a column that is this text.
SELECT 1 FROM __ducklake_metadata_lake.{table} WHERE $name IN (min_value, max_value)
