-- One row: the newest snapshot.
SELECT max(snapshot_id) FROM lake.snapshots()
