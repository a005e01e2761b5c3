-- One row: how many rows Parquet files hold without the deleted ones, and the sum of the rows' hashes, in any order.
WITH found AS (
    SELECT {columns}
    FROM read_parquet(
        $files, union_by_name => true, hive_partitioning => false, filename => true, file_row_number => true
    ) AS rows
    WHERE NOT EXISTS (
        SELECT 1 FROM plain_deleted WHERE file = rows.filename AND pos = rows.file_row_number
    )
)
SELECT count(*), coalesce(sum(hash(found::VARCHAR)::HUGEINT), 0) FROM found
