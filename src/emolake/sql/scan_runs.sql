-- One row per Parquet file of `runs` that still names an erased recording; files of earlier versions have no warnings.
SELECT DISTINCT filename
FROM (
    FROM read_parquet($files::VARCHAR[], filename = true, union_by_name = true)
    UNION ALL BY NAME
    SELECT NULL::VARCHAR[] AS warnings WHERE false
)
JOIN requested ON contains(error, key)
    OR contains(array_to_string(named_keys, chr(10)), key)
    OR contains(array_to_string(warnings, chr(10)), key)
