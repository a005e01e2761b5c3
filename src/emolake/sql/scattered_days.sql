-- One row per table and day whose rows lie in several small files, or in files with many deleted rows.
WITH live AS (
    SELECT
        tables.table_name,
        values.partition_value::DATE AS date,
        files.file_size_bytes,
        files.record_count,
        coalesce(deletes.delete_count, 0) AS delete_count
    FROM __ducklake_metadata_lake.ducklake_data_file AS files
    JOIN __ducklake_metadata_lake.ducklake_table AS tables
        ON tables.table_id = files.table_id AND tables.end_snapshot IS NULL
    JOIN __ducklake_metadata_lake.ducklake_file_partition_value AS values
        ON values.data_file_id = files.data_file_id
    LEFT JOIN __ducklake_metadata_lake.ducklake_delete_file AS deletes
        ON deletes.data_file_id = files.data_file_id AND deletes.end_snapshot IS NULL
    WHERE files.end_snapshot IS NULL AND list_contains($tables::VARCHAR[], tables.table_name)
)
SELECT table_name, date, count(*) AS files, sum(file_size_bytes)::BIGINT AS bytes
FROM live
GROUP BY table_name, date
HAVING count(*) FILTER (file_size_bytes < $small_bytes) > 1 OR sum(delete_count) > $rewrite_share * sum(record_count)
ORDER BY date, table_name
