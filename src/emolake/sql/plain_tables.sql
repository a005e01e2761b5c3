-- One row per table of a catalog that is read without DuckLake: its columns, its Parquet files, and by each that lists
-- deleted rows the file that they are in, in the newest snapshot.
WITH live_tables AS (
    SELECT
        tables.table_id,
        tables.table_name,
        concat(
            CASE WHEN schemas.path_is_relative::BOOLEAN THEN $data END, schemas.path,
            tables.path
        ) AS folder
    FROM {schema}.ducklake_table AS tables
    JOIN {schema}.ducklake_schema AS schemas USING (schema_id)
    WHERE tables.end_snapshot IS NULL AND schemas.end_snapshot IS NULL
),
data_files AS (
    SELECT
        table_id,
        data_file_id,
        concat(CASE WHEN path_is_relative::BOOLEAN THEN folder END, path) AS file
    FROM {schema}.ducklake_data_file
    JOIN live_tables USING (table_id)
    WHERE end_snapshot IS NULL
),
live_files AS (
    SELECT table_id, list(file) AS files FROM data_files GROUP BY table_id
),
live_deletes AS (
    SELECT
        deletes.table_id,
        map_from_entries(list((
            concat(CASE WHEN deletes.path_is_relative::BOOLEAN THEN folder END, deletes.path), data_files.file
        ))) AS files
    FROM {schema}.ducklake_delete_file AS deletes
    JOIN live_tables USING (table_id)
    JOIN data_files USING (data_file_id)
    WHERE deletes.end_snapshot IS NULL
    GROUP BY deletes.table_id
),
live_columns AS (
    SELECT table_id, list(column_name ORDER BY column_order) AS names
    FROM {schema}.ducklake_column
    WHERE end_snapshot IS NULL AND parent_column IS NULL
    GROUP BY table_id
)
SELECT table_name, live_columns.names, coalesce(live_files.files, []), coalesce(live_deletes.files, MAP {{}})
FROM live_tables
JOIN live_columns USING (table_id)
LEFT JOIN live_files USING (table_id)
LEFT JOIN live_deletes USING (table_id)
ORDER BY table_name
