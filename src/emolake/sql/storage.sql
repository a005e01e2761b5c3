-- One row: the lake's files and their bytes, those that only older snapshots need apart, and the snapshots.
WITH files AS (
    SELECT file_size_bytes, end_snapshot FROM __ducklake_metadata_lake.ducklake_data_file
    UNION ALL
    SELECT file_size_bytes, end_snapshot FROM __ducklake_metadata_lake.ducklake_delete_file
)
SELECT
    count(*) FILTER (end_snapshot IS NULL) AS files,
    coalesce(sum(file_size_bytes) FILTER (end_snapshot IS NULL), 0)::BIGINT AS bytes,
    count(*) FILTER (end_snapshot IS NOT NULL) AS older_files,
    coalesce(sum(file_size_bytes) FILTER (end_snapshot IS NOT NULL), 0)::BIGINT AS older_bytes,
    (SELECT count(*) FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion) AS unneeded_files,
    (SELECT count(*) FROM __ducklake_metadata_lake.ducklake_snapshot) AS snapshots
FROM files
