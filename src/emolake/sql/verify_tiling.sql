-- One row per channel of a recording of a day whose segments do not tile it: a first one that does not start at 0, a
-- gap, a segment that does not go on from the one before, a missing index, a last one that does not end with the
-- recording. Windows may overlap only where their run was configured so.
WITH overlapping AS (
    SELECT run_id, (options ->> '$.segmentation.method') = 'window'
        AND (options ->> '$.segmentation.hop_s')::DOUBLE < (options ->> '$.segmentation.window_s')::DOUBLE AS may_overlap
    FROM lake.runs
),
placed AS (
    SELECT
        recording_id,
        model,
        channel,
        segment_index,
        start_s,
        end_s,
        run_id,
        row_number() OVER in_order - 1 AS position,
        lag(start_s) OVER in_order AS start_before,
        lag(end_s) OVER in_order AS end_before
    FROM (SELECT DISTINCT recording_id, model, channel, segment_index, start_s, end_s, run_id
          FROM lake.segments WHERE date = $date)
    WINDOW in_order AS (PARTITION BY recording_id, model, channel ORDER BY segment_index, start_s)
),
channels AS (
    SELECT
        recording_id,
        model,
        channel,
        min(start_s) AS first_start_s,
        arg_max(end_s, segment_index) AS last_end_s,
        bool_or(segment_index <> position) AS misnumbered,
        coalesce(bool_or(start_s > end_before + 1e-6), false) AS gap,
        coalesce(bool_or(start_s < end_before - 1e-6 AND NOT coalesce(may_overlap, true)), false) AS overlap,
        bool_or(end_s <= start_s)
            OR coalesce(bool_or(start_s <= start_before OR end_s < end_before - 1e-6), false) AS backwards
    FROM placed
    LEFT JOIN overlapping USING (run_id)
    GROUP BY recording_id, model, channel
),
judged AS (
    SELECT
        recording_id,
        model,
        channel,
        concat_ws(
            ', ',
            CASE WHEN first_start_s <> 0 THEN format('start at {} s', first_start_s) END,
            CASE WHEN misnumbered THEN 'are not numbered from 0 without a gap' END,
            CASE WHEN gap THEN 'leave a gap' END,
            CASE WHEN overlap THEN 'overlap' END,
            CASE WHEN backwards THEN 'do not go forwards' END,
            CASE WHEN abs(last_end_s - duration_s) > 1e-6 OR duration_s IS NULL THEN
                format('end at {} s of {} s', last_end_s, coalesce(duration_s::VARCHAR, 'unknown'))
            END
        ) AS fault
    FROM channels
    JOIN (SELECT DISTINCT recording_id, duration_s, status FROM lake.recordings WHERE date = $date) USING (recording_id)
    WHERE status <> 'quarantined'
    UNION ALL
    SELECT recording_id, model, 0, 'are none, though it could be decoded'
    FROM (SELECT DISTINCT recording_id, status FROM lake.recordings WHERE date = $date)
    JOIN (SELECT DISTINCT recording_id, model FROM lake.analyses WHERE date = $date) USING (recording_id)
    ANTI JOIN channels USING (recording_id, model)
    WHERE status IN ('ok', 'truncated', 'silent')
)
SELECT
    $date::DATE AS date,
    format('the segments of channel {} of recording {} by {} {}', channel, recording_id, model, fault) AS breach,
    format(
        'SELECT model, channel, segment_index, start_s, end_s, duration_s FROM recordings '
        'LEFT JOIN segments USING (recording_id, date) WHERE date = ''{}'' AND recording_id = ''{}'' ORDER BY ALL',
        $date::DATE, recording_id
    ) AS query
FROM judged
WHERE fault <> ''
ORDER BY ALL
