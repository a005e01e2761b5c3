-- One row per snapshot.
SELECT snapshot_id FROM lake.snapshots() ORDER BY snapshot_id
