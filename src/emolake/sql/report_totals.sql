-- One row: the recordings of the range by what became of them, their audio, and their speech.
-- Speech that several models analysed counts once.
WITH speech AS (
    SELECT recording_id, max(speech_seconds) AS speech_seconds
    FROM lake.analyses
    WHERE date BETWEEN $first AND $last
    GROUP BY recording_id
)
SELECT
    count(*) AS recordings,
    count(DISTINCT date) AS days,
    count(*) FILTER (status = 'quarantined') AS quarantined,
    count(*) FILTER (status = 'truncated') AS truncated,
    coalesce(sum(duration_s), 0) AS audio_seconds,
    coalesce(sum(speech_seconds), 0) AS speech_seconds
FROM lake.recordings
LEFT JOIN speech USING (recording_id)
WHERE date BETWEEN $first AND $last
