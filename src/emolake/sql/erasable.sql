-- One row per recording that is asked for and each day that any table holds something of it, with how much that is.
WITH held AS (
    SELECT recording_id, date, 'recordings' AS held FROM lake.recordings SEMI JOIN asked USING (recording_id)
    UNION ALL
    SELECT recording_id, date, 'analyses' FROM lake.analyses SEMI JOIN asked USING (recording_id)
    UNION ALL
    SELECT recording_id, date, 'segments' FROM lake.segments SEMI JOIN asked USING (recording_id)
)
SELECT
    recording_id,
    date,
    count(*) FILTER (held = 'recordings') AS recordings,
    count(*) FILTER (held = 'analyses') AS analyses,
    count(*) FILTER (held = 'segments') AS segments
FROM held
GROUP BY recording_id, date
ORDER BY date, recording_id
