-- One row: the newest snapshot that there is, and the files that a snapshot needs (their number, and the sum of the hashes of
-- their ids), without those of the guards, which nobody shows. The snapshot is the newest one where none is named.
WITH newest AS (
    SELECT max(snapshot_id) AS snapshot_id FROM __ducklake_metadata_lake.ducklake_snapshot
),
files AS (
    SELECT 'rows' AS kind, data_file_id AS id, table_id, begin_snapshot, end_snapshot
    FROM __ducklake_metadata_lake.ducklake_data_file
    UNION ALL
    SELECT 'deleted rows', delete_file_id, table_id, begin_snapshot, end_snapshot
    FROM __ducklake_metadata_lake.ducklake_delete_file
),
needed AS (
    SELECT files.kind, files.id
    FROM files
    JOIN __ducklake_metadata_lake.ducklake_table AS tables USING (table_id)
    CROSS JOIN newest
    WHERE tables.table_name <> 'guards'
      AND files.begin_snapshot <= coalesce($base, newest.snapshot_id)
      AND (files.end_snapshot IS NULL OR files.end_snapshot > coalesce($base, newest.snapshot_id))
)
SELECT any_value(newest.snapshot_id), count(needed.id), coalesce(sum(hash(needed.kind, needed.id)), 0)
FROM newest
LEFT JOIN needed ON true
