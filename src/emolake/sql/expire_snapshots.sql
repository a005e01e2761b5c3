-- Expires snapshots by id; the files that only they need wait to be removed.
CALL ducklake_expire_snapshots('lake', versions => $snapshots::BIGINT[])
