-- One row per day with recordings: what became of them, and whether the daily table holds the segments of its ledger.
WITH ledger AS (
    SELECT date, sum(segments)::BIGINT AS segments FROM lake.analyses GROUP BY date
),
aggregated AS (
    SELECT date, sum(segments)::BIGINT AS segments FROM lake.daily_emotions GROUP BY date
)
SELECT
    recordings.date,
    count(*) AS recordings,
    count(*) FILTER (status = 'ok') AS ok,
    count(*) FILTER (status = 'truncated') AS truncated,
    count(*) FILTER (status = 'silent') AS silent,
    count(*) FILTER (status = 'excluded') AS excluded,
    count(*) FILTER (status = 'quarantined') AS quarantined,
    coalesce(sum(duration_s), 0) AS audio_seconds,
    coalesce(any_value(ledger.segments), 0) <> coalesce(any_value(aggregated.segments), 0) AS outdated
FROM lake.recordings
LEFT JOIN ledger USING (date)
LEFT JOIN aggregated USING (date)
WHERE recordings.date BETWEEN $first AND $last
GROUP BY recordings.date
ORDER BY recordings.date
