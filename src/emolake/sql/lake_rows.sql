-- One row: how many rows a table of the lake holds, and the sum of the rows' hashes, in any order.
WITH found AS (SELECT {columns} FROM lake.{table})
SELECT count(*), coalesce(sum(hash(found::VARCHAR)::HUGEINT), 0) FROM found
