-- One row per recording of a day whose rows of recording_dynamics do not fit its row: twice for a channel, without a
-- decoded recording, of another run, more talk than time, shares that do not add up; or none at all, though the run that
-- decoded it is of a version that writes them, whose options name the roles.
WITH recordings AS (
    SELECT DISTINCT ON (recording_id) * FROM lake.recordings WHERE date = $date
),
dynamics AS (
    SELECT * FROM lake.recording_dynamics WHERE date = $date
),
measuring AS (
    SELECT run_id FROM lake.runs WHERE (options -> '$.roles') IS NOT NULL
),
judged AS (
    SELECT recording_id, format('channel {} of recording {} is there {} times', channel, recording_id, count(*)) AS breach
    FROM dynamics
    GROUP BY recording_id, channel
    HAVING count(*) > 1
    UNION ALL
    SELECT DISTINCT dynamics.recording_id, format('recording {} has dynamics and no row', dynamics.recording_id)
    FROM dynamics
    ANTI JOIN recordings USING (recording_id)
    UNION ALL
    SELECT DISTINCT recording_id, format('recording {} has dynamics and is {}', recording_id, status)
    FROM dynamics
    JOIN recordings USING (recording_id)
    WHERE status IN ('quarantined', 'excluded')
    UNION ALL
    SELECT DISTINCT
        recording_id,
        format('recording {} is of the run {}, its dynamics of {}', recording_id, recordings.run_id, dynamics.run_id)
    FROM dynamics
    JOIN recordings USING (recording_id)
    WHERE dynamics.run_id <> recordings.run_id
    UNION ALL
    SELECT
        recording_id,
        format('recording {} of {:.3f} s has {:.3f} s of silence and {:.3f} s of talk', recording_id, duration_s, silence_s, talk_s)
    FROM dynamics
    JOIN recordings USING (recording_id)
    -- A sample more or less comes of resampling.
    WHERE greatest(talk_s, silence_s, coalesce(overlap_s, 0)) > duration_s + 0.01
       OR coalesce(overlap_s, 0) > talk_s + 1e-6
       OR least(talk_s, silence_s, coalesce(overlap_s, 0)) < 0
       OR (overlap_s IS NOT NULL AND talk_s + silence_s > duration_s + 0.01)
    UNION ALL
    SELECT recording_id, format('the shares of talk of recording {} add up to {}', recording_id, sum(talk_share))
    FROM dynamics
    GROUP BY recording_id
    HAVING abs(sum(talk_share) - 1) > 1e-6
    UNION ALL
    SELECT recording_id, format('recording {} is {} and has no dynamics', recording_id, status)
    FROM recordings
    SEMI JOIN measuring USING (run_id)
    ANTI JOIN dynamics USING (recording_id)
    WHERE status IN ('ok', 'truncated', 'silent')
)
SELECT
    $date::DATE AS date,
    breach,
    format(
        'SELECT * FROM recordings LEFT JOIN recording_dynamics USING (recording_id, date) WHERE date = ''{}'' '
        'AND recording_id = ''{}'' ORDER BY channel',
        $date::DATE, recording_id
    ) AS query
FROM judged
ORDER BY ALL
