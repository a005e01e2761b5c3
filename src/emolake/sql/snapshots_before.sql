-- One row per snapshot that was no longer the newest at a moment. Its own age says nothing: that of a quiet lake is old and
-- still the newest, and a reader may have just begun with it.
WITH followed AS (
    SELECT snapshot_id, lead(snapshot_time) OVER (ORDER BY snapshot_id) AS followed_at
    FROM lake.snapshots()
)
SELECT snapshot_id
FROM followed
WHERE followed_at < $before
ORDER BY snapshot_id
