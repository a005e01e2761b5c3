-- One row per column whose bounds in the catalog name an erased recording, with the bounds of the files that are left.
SELECT
    stats.table_id,
    stats.column_id,
    min(files.min_value) AS min_value,
    max(files.max_value) AS max_value
FROM __ducklake_metadata_lake.ducklake_table_column_stats AS stats
LEFT JOIN __ducklake_metadata_lake.ducklake_file_column_stats AS files
    ON files.table_id = stats.table_id AND files.column_id = stats.column_id
WHERE EXISTS (
    SELECT 1 FROM requested
    WHERE contains(concat_ws(chr(10), stats.min_value, stats.max_value), recording_id)
       OR contains(concat_ws(chr(10), stats.min_value, stats.max_value), key)
)
GROUP BY stats.table_id, stats.column_id
