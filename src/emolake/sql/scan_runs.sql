-- One row per Parquet file of `runs` that still names an erased recording.
SELECT DISTINCT filename
FROM read_parquet($files::VARCHAR[], filename = true, union_by_name = true)
JOIN requested ON contains(error, key) OR contains(array_to_string(named_keys, chr(10)), key)
