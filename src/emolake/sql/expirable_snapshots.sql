-- One row per snapshot that a commit had seen followed by a moment. A snapshot's own time says nothing of it: it is the
-- start of its transaction, whose commit may have waited long for its turn. And the age of a snapshot says nothing of its
-- readers: that of a quiet lake is old and still the newest. What a commit has found as the newest, and when, is in its tag.
WITH seen AS (
    SELECT
        try_cast(try_cast(commit_extra_info AS JSON) ->> 'based_on' AS BIGINT) AS based_on,
        try_cast(try_cast(commit_extra_info AS JSON) ->> 'based_at' AS TIMESTAMPTZ) AS based_at
    FROM lake.snapshots()
)
SELECT snapshot_id
FROM lake.snapshots()
WHERE snapshot_id < (SELECT max(based_on) FROM seen WHERE based_at < $before)
ORDER BY snapshot_id
