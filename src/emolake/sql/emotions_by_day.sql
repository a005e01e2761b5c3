-- Common table expressions that end in `by_day`: one row per day, model, dimension, value of it and emotion, with the sums
-- that a share and its interval are made of; they add up over days, since a recording belongs to one. Those of a recording's
-- channels are added up before they are squared, so that it counts as one.
names AS (
    SELECT DISTINCT unnest(map_keys(dimensions)) AS dimension FROM daily_emotions
),
by_channel AS (
    SELECT
        date,
        recording_id,
        model,
        channel,
        any_value(role) AS role,
        any_value(dimensions) AS dimensions,
        emotion,
        count(*) AS segments,
        sum(speech_s) AS seconds,
        sum(speech_s ** 2) AS segments_squared,
        sum(confidence::DOUBLE * speech_s) AS confident_seconds
    FROM segments_wide
    WHERE emotion IS NOT NULL
    GROUP BY date, recording_id, model, channel, emotion
),
described AS (
    SELECT *, NULL::VARCHAR AS dimension, NULL::VARCHAR AS value FROM by_channel
    UNION ALL
    SELECT
        by_channel.*,
        dimension,
        coalesce(
            dimensions[dimension], CASE dimension WHEN 'role' THEN role WHEN 'channel' THEN channel::VARCHAR END, ''
        ) AS value
    FROM by_channel
    CROSS JOIN names
),
by_recording AS (
    SELECT
        date,
        model,
        dimension,
        value,
        recording_id,
        emotion,
        sum(segments)::BIGINT AS segments,
        sum(seconds) AS seconds,
        sum(segments_squared) AS segments_squared,
        sum(confident_seconds) AS confident_seconds
    FROM described
    GROUP BY date, model, dimension, value, recording_id, emotion
),
weighed AS (
    SELECT *, sum(seconds) OVER (PARTITION BY date, model, dimension, value, recording_id) AS of_recording
    FROM by_recording
),
by_day AS (
    SELECT
        date,
        model,
        dimension,
        value,
        emotion,
        count(*) AS recordings,
        sum(segments)::BIGINT AS segments,
        sum(seconds) AS seconds,
        sum(confident_seconds) AS confident_seconds,
        sum(seconds ** 2) AS emotion_squared,
        sum(seconds * of_recording) AS emotion_by_all,
        sum(seconds ** 2 / nullif(of_recording, 0)) AS emotion_by_share,
        sum(seconds / nullif(of_recording, 0)) AS part_of_recordings,
        sum(segments_squared) AS segments_squared
    FROM weighed
    GROUP BY date, model, dimension, value, emotion
)
