-- One row per day with labelled speech, model, dimension, value of it, emotion and number of days, 7 or 28: the share of the
-- days that end with it, that of as many days before them, and the change. Its interval is that of the difference of two
-- independent shares from the intervals of each (Newcombe 1998, Statistics in Medicine 17, 873-890, method 10).
WITH {emotions_by_day},
groups AS (
    SELECT DISTINCT model, dimension, value FROM by_day
),
emotions AS (
    SELECT groups.*, emotion FROM groups JOIN (SELECT DISTINCT model, emotion FROM by_day) AS given USING (model)
),
calendar AS (
    SELECT model, unnest(generate_series(min(date), max(date), INTERVAL 1 DAY))::DATE AS date
    FROM by_day
    GROUP BY model
),
dense AS (
    SELECT
        calendar.date,
        calendar.model,
        emotions.dimension,
        emotions.value,
        emotions.emotion,
        seconds,
        emotion_squared,
        emotion_by_all,
        emotion_by_share,
        part_of_recordings,
        segments_squared,
        sum(seconds) OVER (PARTITION BY calendar.date, calendar.model, emotions.dimension, emotions.value) AS of_day
    FROM calendar
    JOIN emotions ON emotions.model = calendar.model
    LEFT JOIN by_day
        ON by_day.date = calendar.date
        AND by_day.model = emotions.model
        AND by_day.dimension IS NOT DISTINCT FROM emotions.dimension
        AND by_day.value IS NOT DISTINCT FROM emotions.value
        AND by_day.emotion = emotions.emotion
),
rolled AS (
    SELECT
        date,
        model,
        dimension,
        value,
        emotion,
        days,
        of_day > 0 AS has_speech,
        count(*) FILTER (of_day > 0) OVER of_period AS days_with_speech,
        coalesce(sum(seconds) OVER of_period, 0) AS seconds,
        coalesce(sum(emotion_squared) OVER of_period, 0) AS emotion_squared,
        coalesce(sum(emotion_by_all) OVER of_period, 0) AS emotion_by_all,
        coalesce(sum(emotion_by_share) OVER of_period, 0) AS emotion_by_share,
        coalesce(sum(part_of_recordings) OVER of_period, 0) AS part_of_recordings,
        coalesce(sum(segments_squared) OVER of_period, 0) AS segments_squared
    FROM dense
    CROSS JOIN (SELECT unnest([7, 28]) AS days) AS lengths
    WINDOW of_period AS (
        PARTITION BY model, dimension, value, emotion, days ORDER BY date ROWS BETWEEN days - 1 PRECEDING AND CURRENT ROW
    )
),
shared AS (
    SELECT
        *,
        seconds / nullif(sum(seconds) OVER of_labelled, 0) AS share,
        sum(seconds) OVER of_labelled AS all_seconds,
        sum(emotion_by_all) OVER of_labelled AS all_squared,
        sum(segments_squared) OVER of_labelled AS all_segments_squared,
        round(sum(part_of_recordings) OVER of_labelled) AS clusters
    FROM rolled
    WINDOW of_labelled AS (PARTITION BY date, model, dimension, value, days)
),
{share_bounds}
SELECT
    now.date,
    now.model,
    now.dimension,
    now.value,
    now.emotion,
    now.days,
    now.days_with_speech,
    now.clusters::BIGINT AS recordings,
    now.seconds AS speech_seconds,
    now.share,
    now.share_low,
    now.share_high,
    coalesce(before.days_with_speech, 0) AS days_with_speech_before,
    coalesce(before.clusters, 0)::BIGINT AS recordings_before,
    before.share AS share_before,
    before.share_low AS share_before_low,
    before.share_high AS share_before_high,
    now.share - before.share AS change,
    now.share - before.share - sqrt((now.share - now.share_low) ** 2 + (before.share_high - before.share) ** 2)
        AS change_low,
    now.share - before.share + sqrt((now.share_high - now.share) ** 2 + (before.share - before.share_low) ** 2)
        AS change_high
FROM bounded AS now
LEFT JOIN bounded AS before
    ON before.date = now.date - now.days
    AND before.days = now.days
    AND before.model = now.model
    AND before.dimension IS NOT DISTINCT FROM now.dimension
    AND before.value IS NOT DISTINCT FROM now.value
    AND before.emotion = now.emotion
WHERE now.has_speech
