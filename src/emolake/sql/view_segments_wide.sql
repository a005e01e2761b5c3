-- One row per segment of a healthy model, with what its recording is. Overlapping windows own the time up to the start of
-- the next one, so that no second of speech counts twice.
SELECT
    owned.date,
    owned.recording_id,
    recordings.uri,
    owned.model,
    owned.channel,
    owned.role,
    owned.segment_index,
    owned.start_s,
    owned.end_s,
    owned.speech_s,
    recordings.recorded_at_local + to_microseconds((owned.start_s * 1e6)::BIGINT) AS at_local,
    owned.label,
    owned.emotion,
    owned.confidence,
    owned.uncertain,
    owned.probabilities,
    owned.affect,
    owned.entropy,
    recordings.dimensions,
    recordings.duration_s,
    recordings.deleted_at,
    owned.config_id,
    owned.run_id
FROM (
    SELECT
        *,
        speech_ratio::DOUBLE * (least(end_s, coalesce(lead(start_s) OVER in_time, end_s)) - start_s) AS speech_s
    FROM segments
    WINDOW in_time AS (PARTITION BY date, recording_id, model, channel ORDER BY segment_index)
) AS owned
ANTI JOIN (FROM model_health WHERE verdict = 'flat') AS flat USING (run_id, model)
JOIN recordings USING (recording_id, date)
