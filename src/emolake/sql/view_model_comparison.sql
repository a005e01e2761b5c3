-- One row per segment that two healthy models both labelled in the same bounds; the model that comes first in the alphabet
-- is model_a.
WITH labelled AS (
    SELECT date, recording_id, channel, start_s, end_s, model, emotion, confidence
    FROM segments
    ANTI JOIN (FROM model_health WHERE verdict = 'flat') AS flat USING (run_id, model)
    WHERE emotion IS NOT NULL
)
SELECT
    one.date,
    one.recording_id,
    one.channel,
    one.start_s,
    one.end_s,
    one.model AS model_a,
    other.model AS model_b,
    one.emotion AS emotion_a,
    other.emotion AS emotion_b,
    one.confidence AS confidence_a,
    other.confidence AS confidence_b,
    one.emotion = other.emotion AS agree
FROM labelled AS one
JOIN labelled AS other
    ON one.date = other.date
    AND one.recording_id = other.recording_id
    AND one.channel = other.channel
    AND one.start_s = other.start_s
    AND one.end_s = other.end_s
    AND one.model < other.model
