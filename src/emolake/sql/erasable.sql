-- One row per recording to be erased and each day that any table holds something of it, with how much that is.
WITH stored AS (
    SELECT recording_id, date, 'recordings' AS stored FROM lake.recordings SEMI JOIN requested USING (recording_id)
    UNION ALL
    SELECT recording_id, date, 'analyses' FROM lake.analyses SEMI JOIN requested USING (recording_id)
    UNION ALL
    SELECT recording_id, date, 'segments' FROM lake.segments SEMI JOIN requested USING (recording_id)
)
SELECT
    recording_id,
    date,
    count(*) FILTER (stored = 'recordings') AS recordings,
    count(*) FILTER (stored = 'analyses') AS analyses,
    count(*) FILTER (stored = 'segments') AS segments
FROM stored
GROUP BY recording_id, date
ORDER BY date, recording_id
