-- One row per segment that two models analysed in the same bounds, with what each says of it.
CREATE VIEW IF NOT EXISTS lake.model_comparison AS
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
    one.emotion IS NOT DISTINCT FROM other.emotion AS agree
FROM lake.segments AS one
JOIN lake.segments AS other
    ON one.date = other.date
    AND one.recording_id = other.recording_id
    AND one.channel = other.channel
    AND one.start_s = other.start_s
    AND one.end_s = other.end_s
    AND one.model < other.model
