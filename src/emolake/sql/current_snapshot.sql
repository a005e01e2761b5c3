-- One row: the snapshot that this transaction reads from now on.
SELECT id FROM lake.current_snapshot()
