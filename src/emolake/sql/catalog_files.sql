-- One row per file that the catalog knows, below the data path: `live` in the newest snapshot, `kept` for an older one,
-- or `waiting` to be removed. `record_count` is NULL where the file lists deleted rows.
WITH folders AS (
    SELECT
        tables.table_id,
        any_value(tables.table_name) AS table_name,
        any_value(concat(
            CASE WHEN schemas.path_is_relative::BOOLEAN THEN schemas.path END, tables.path
        )) AS folder
    FROM __ducklake_metadata_lake.ducklake_table AS tables
    JOIN __ducklake_metadata_lake.ducklake_schema AS schemas USING (schema_id)
    GROUP BY tables.table_id
)
SELECT
    table_name,
    concat(CASE WHEN path_is_relative::BOOLEAN THEN folder END, path) AS path,
    file_size_bytes AS size_bytes,
    record_count,
    CASE WHEN end_snapshot IS NULL THEN 'live' ELSE 'kept' END AS state
FROM __ducklake_metadata_lake.ducklake_data_file
JOIN folders USING (table_id)
UNION ALL
SELECT
    table_name,
    concat(CASE WHEN path_is_relative::BOOLEAN THEN folder END, path),
    file_size_bytes,
    NULL,
    CASE WHEN end_snapshot IS NULL THEN 'live' ELSE 'kept' END
FROM __ducklake_metadata_lake.ducklake_delete_file
JOIN folders USING (table_id)
UNION ALL
SELECT NULL, path, NULL, NULL, 'waiting'
FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
