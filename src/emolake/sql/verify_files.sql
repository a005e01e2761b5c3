-- One row per file of the catalog that is missing or of another size, and per file of the data path that the catalog
-- does not know. `listed_files` holds what lies in the data path, `catalog_files` what the catalog knows.
SELECT
    NULL::DATE AS date,
    CASE
        WHEN listed.path IS NULL THEN format('{} of {} is missing', known.path, known.table_name)
        WHEN known.path IS NULL THEN format('{} ({} bytes) is not in the catalog', listed.path, listed.size_bytes)
        ELSE
            format(
                '{} of {} has {} bytes, and the catalog says {}',
                known.path, known.table_name, listed.size_bytes, known.size_bytes
            )
    END AS breach,
    CASE WHEN known.path IS NOT NULL THEN
        format(
            'SELECT * FROM ducklake_list_files(''lake'', ''{}'') WHERE contains(data_file, ''{}'')',
            known.table_name, parse_filename(known.path)
        )
    END AS query,
    known.path IS NULL AS is_orphan,
    coalesce(known.path, listed.path) AS path
FROM (FROM catalog_files WHERE state <> 'waiting') AS known
FULL JOIN (
    FROM listed_files ANTI JOIN (FROM catalog_files WHERE state = 'waiting') USING (path)
) AS listed USING (path)
WHERE listed.path IS NULL
   OR (known.path IS NULL AND ends_with(listed.path, '.parquet'))
   OR known.size_bytes <> listed.size_bytes
ORDER BY ALL
