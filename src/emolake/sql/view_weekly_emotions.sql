-- One row per week (its Monday), model, dimension, value of it and emotion: shares by seconds of speech of the whole week,
-- with an interval by recordings. An emotion that the model gave in any week has a row in each, with a share of 0.
WITH {emotions_by_day},
summed AS (
    SELECT
        date_trunc('week', date)::DATE AS week,
        model,
        dimension,
        value,
        emotion,
        sum(recordings)::BIGINT AS recordings,
        sum(segments)::BIGINT AS segments,
        sum(seconds) AS seconds,
        sum(confident_seconds) AS confident_seconds,
        sum(emotion_squared) AS emotion_squared,
        sum(emotion_by_all) AS emotion_by_all,
        sum(emotion_by_share) AS emotion_by_share,
        sum(part_of_recordings) AS part_of_recordings,
        sum(segments_squared) AS segments_squared
    FROM by_day
    GROUP BY ALL
),
groups AS (
    SELECT
        date_trunc('week', date)::DATE AS week,
        model,
        dimension,
        value,
        count(DISTINCT date) AS days
    FROM by_day
    GROUP BY ALL
),
emotions AS (
    SELECT DISTINCT model, emotion FROM by_day
),
shared AS (
    SELECT
        groups.week,
        groups.model,
        groups.dimension,
        groups.value,
        emotions.emotion,
        groups.days,
        coalesce(recordings, 0) AS recordings,
        coalesce(segments, 0) AS segments,
        coalesce(seconds, 0) AS seconds,
        confident_seconds,
        coalesce(emotion_squared, 0) AS emotion_squared,
        coalesce(emotion_by_all, 0) AS emotion_by_all,
        coalesce(emotion_by_share, 0) AS emotion_by_share,
        coalesce(seconds, 0) / nullif(sum(seconds) OVER of_labelled, 0) AS share,
        sum(seconds) OVER of_labelled AS all_seconds,
        sum(summed.emotion_by_all) OVER of_labelled AS all_squared,
        sum(segments_squared) OVER of_labelled AS all_segments_squared,
        round(sum(part_of_recordings) OVER of_labelled) AS clusters
    FROM groups
    JOIN emotions ON emotions.model = groups.model
    LEFT JOIN summed
        ON summed.week = groups.week
        AND summed.model = groups.model
        AND summed.dimension IS NOT DISTINCT FROM groups.dimension
        AND summed.value IS NOT DISTINCT FROM groups.value
        AND summed.emotion = emotions.emotion
    WINDOW of_labelled AS (PARTITION BY groups.week, groups.model, groups.dimension, groups.value)
),
{share_bounds}
SELECT
    week,
    model,
    dimension,
    value,
    emotion,
    days,
    coalesce(clusters, 0)::BIGINT AS recordings,
    recordings AS recordings_with,
    segments,
    seconds AS speech_seconds,
    share,
    share_low,
    share_high,
    confident_seconds / nullif(seconds, 0) AS mean_probability
FROM bounded
