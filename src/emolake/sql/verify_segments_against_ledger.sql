-- One row per recording and model of a day whose segments are not what the ledger says: another number, other seconds
-- of speech, or of another configuration.
WITH owned AS (
    SELECT
        recording_id,
        model,
        config_id,
        speech_ratio::DOUBLE * (least(end_s, coalesce(lead(start_s) OVER in_time, end_s)) - start_s) AS speech_s
    FROM (
        SELECT DISTINCT ON (recording_id, model, channel, segment_index) * FROM lake.segments WHERE date = $date
    )
    WINDOW in_time AS (PARTITION BY recording_id, model, channel ORDER BY segment_index)
),
held AS (
    SELECT
        recording_id,
        model,
        count(*) AS held,
        sum(speech_s) AS held_seconds,
        list_sort(list_distinct(list(config_id))) AS config_ids
    FROM owned
    GROUP BY recording_id, model
)
SELECT
    $date::DATE AS date,
    CASE
        WHEN analyses.recording_id IS NULL THEN
            format('recording {} has {} segments by {} and no analysis', recording_id, held, model)
        WHEN segments <> coalesce(held, 0) THEN
            format(
                'recording {} has {} segments by {}, and its analysis says {}',
                recording_id, coalesce(held, 0), model, segments
            )
        WHEN config_ids <> [config_id] THEN
            format('segments of recording {} by {} are not of the configuration {}', recording_id, model, config_id)
        ELSE
            format(
                'the segments of recording {} by {} hold {:.3f} s of speech, and its analysis says {:.3f} s',
                recording_id, model, held_seconds, speech_seconds
            )
    END AS breach,
    CASE WHEN analyses.recording_id IS NULL THEN
        format('SELECT * FROM segments WHERE date = ''{}'' AND recording_id = ''{}''', $date::DATE, recording_id)
    ELSE format(
        'SELECT segments, (SELECT count(*) FROM segments WHERE segments.date = analyses.date '
        'AND segments.recording_id = analyses.recording_id AND segments.model = analyses.model) AS held, * '
        'FROM analyses WHERE date = ''{}'' AND recording_id = ''{}''',
        $date::DATE, recording_id
    ) END AS query
FROM (SELECT DISTINCT ON (recording_id, model) * FROM lake.analyses WHERE date = $date) AS analyses
FULL JOIN held USING (recording_id, model)
WHERE segments IS DISTINCT FROM coalesce(held, 0)
   OR config_ids <> [config_id]
   OR abs(coalesce(held_seconds, 0) - speech_seconds) > 1e-6 * greatest(1, speech_seconds)
ORDER BY ALL
