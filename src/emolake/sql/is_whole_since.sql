-- One row: whether a snapshot and all that followed it are there. Their ids have no gaps.
SELECT count(*) > 0 AND count(*) = max(snapshot_id) - $base + 1
FROM __ducklake_metadata_lake.ducklake_snapshot
WHERE snapshot_id >= $base
