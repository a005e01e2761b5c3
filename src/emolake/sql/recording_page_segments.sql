-- One row per segment of a recording by a model that is not held back, in the order of time.
SELECT
    model,
    channel,
    role,
    start_s,
    end_s,
    speech_ratio,
    label,
    emotion,
    confidence,
    uncertain,
    probabilities,
    transcript
FROM segments
SEMI JOIN segments_wide USING (date, recording_id, model, channel, segment_index)
WHERE date = $date AND recording_id = $recording_id
ORDER BY model, start_s, channel
