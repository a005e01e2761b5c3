-- One row per Parquet file that still holds a row of an erased recording.
SELECT DISTINCT filename
FROM read_parquet($files::VARCHAR[], filename = true, union_by_name = true)
SEMI JOIN requested USING (recording_id)
