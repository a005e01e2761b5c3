-- One row per recording of a day whose row and whose analyses do not fit: an analysis without a recording or of another
-- version, a recording that was decoded and never analysed (unless a model was forgotten since), a quarantined one
-- without a reason.
WITH recordings AS (
    SELECT DISTINCT ON (recording_id) * FROM lake.recordings WHERE date = $date
),
analyses AS (
    SELECT DISTINCT ON (recording_id, model) * FROM lake.analyses WHERE date = $date
),
judged AS (
    SELECT recording_id, format('recording {} has an analysis by {} and no row', recording_id, model) AS breach
    FROM analyses
    ANTI JOIN recordings USING (recording_id)
    UNION ALL
    SELECT
        recording_id,
        format(
            'recording {} has version {}, its analysis by {} with {}',
            recording_id, recordings.version, model, analyses.version
        )
    FROM analyses
    JOIN recordings USING (recording_id)
    WHERE analyses.version <> recordings.version
    UNION ALL
    SELECT recording_id, format('recording {} is {} and has no analysis', recording_id, status)
    FROM recordings
    ANTI JOIN analyses USING (recording_id)
    WHERE status IN ('ok', 'truncated', 'silent')
      AND committed_at > coalesce((SELECT max(forgotten_at) FROM lake.forgotten WHERE date = $date), '-infinity')
    UNION ALL
    SELECT recording_id, format('recording {} is {} without a reason', recording_id, status)
    FROM recordings
    WHERE status IN ('quarantined', 'truncated') AND coalesce(error, '') = ''
)
SELECT
    $date::DATE AS date,
    breach,
    format(
        'SELECT * FROM recordings FULL JOIN analyses USING (recording_id) WHERE recording_id = ''{}''', recording_id
    ) AS query
FROM judged
ORDER BY ALL
