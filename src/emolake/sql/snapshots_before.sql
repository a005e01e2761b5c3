-- One row per snapshot that is older than a moment, but for the newest one of all.
SELECT snapshot_id
FROM lake.snapshots()
WHERE snapshot_time < $before AND snapshot_id < (SELECT max(snapshot_id) FROM lake.snapshots())
ORDER BY snapshot_id
