-- One row: the snapshot that this transaction reads, and when it was made.
SELECT snapshot_id, snapshot_time
FROM lake.snapshots()
WHERE snapshot_id = (SELECT id FROM lake.current_snapshot())
