-- One row per data file of the newest snapshot whose footer counts other rows than the catalog.
SELECT
    NULL::DATE AS date,
    format('{} of {} has {} rows, and the catalog says {}', path, table_name, num_rows, record_count) AS breach,
    format(
        'SELECT * FROM ducklake_list_files(''lake'', ''{}'') WHERE contains(data_file, ''{}'')',
        table_name, parse_filename(path)
    ) AS query
FROM catalog_files
JOIN parquet_file_metadata($files::VARCHAR[]) ON file_name = concat($folder, path)
WHERE state = 'live' AND record_count <> num_rows
ORDER BY ALL
