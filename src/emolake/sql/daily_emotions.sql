-- One row per day, model, dimensions and emotion; the row whose emotion is NULL holds what got no label. Of the models of
-- `with_segments` there is also the labelled speech behind each row, and the orders of its labels.
-- Dimensions are those of recordings, and `segments.role` and `segments.channel`, which are what the segment is of.
-- Models of `without` are left out. Overlapping windows own the time up to the start of the next one, so that no second of speech counts twice.
WITH owned AS (
    SELECT
        recording_id,
        model,
        channel,
        role,
        emotion,
        confidence,
        uncertain,
        probabilities,
        affect,
        speech_ratio::DOUBLE * (
            least(end_s, coalesce(lead(start_s) OVER in_time, end_s)) - start_s
        ) AS speech_s
    FROM lake.segments
    WHERE date = $date AND NOT list_contains($without::VARCHAR[], model)
    WINDOW in_time AS (PARTITION BY recording_id, model, channel ORDER BY segment_index)
),
described AS (
    SELECT
        owned.*,
        map_from_entries(
            [
                CASE name
                    WHEN 'segments.role' THEN ('role', coalesce(owned.role, ''))
                    WHEN 'segments.channel' THEN ('channel', owned.channel::VARCHAR)
                    ELSE (name, coalesce(recordings.dimensions[name], ''))
                END
                FOR name IN $dimensions::VARCHAR[]
            ]
        ) AS dimensions
    FROM owned
    JOIN lake.recordings USING (recording_id)
    WHERE recordings.date = $date
),
weighed AS (
    SELECT
        *,
        sum(speech_s) OVER (PARTITION BY model, dimensions, recording_id, emotion) AS of_emotion,
        sum(speech_s) OVER (PARTITION BY model, dimensions, recording_id, emotion IS NULL) AS of_recording
    FROM described
),
summed AS (
    SELECT
        model,
        dimensions,
        emotion,
        count(*) AS segments,
        sum(speech_s) AS speech_seconds,
        coalesce(sum(speech_s) FILTER (uncertain), 0) AS uncertain_seconds,
        sum(confidence::DOUBLE * speech_s) / nullif(sum(speech_s), 0) AS mean_probability,
        CASE WHEN count(affect) > 0 THEN
            map_from_entries(
                [
                    ('arousal', sum(affect['arousal']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0)),
                    ('dominance', sum(affect['dominance']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0)),
                    ('valence', sum(affect['valence']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0))
                ]
            )
        END AS affect,
        count(DISTINCT recording_id) AS recordings,
        -- Over recordings: the sums of the emotion's seconds squared, of those times all labelled seconds and divided by
        -- them, and, once they are added up over the emotions, of the labelled seconds squared, and of 1.
        sum(speech_s * of_emotion) AS emotion_squared,
        sum(speech_s * of_recording) AS emotion_by_all,
        sum(speech_s * of_emotion / nullif(of_recording, 0)) AS emotion_by_share,
        sum(speech_s / nullif(of_recording, 0)) AS part_of_recordings,
        sum(speech_s * speech_s) AS segments_squared,
        list(
            {{recording: hash(recording_id), seconds: speech_s, probabilities: map_values(probabilities)}}
        ) FILTER (emotion IS NOT NULL AND list_contains($with_segments::VARCHAR[], model)) AS labelled,
        list(DISTINCT map_keys(probabilities)) FILTER (
            emotion IS NOT NULL AND list_contains($with_segments::VARCHAR[], model)
        ) AS orders
    FROM weighed
    GROUP BY model, dimensions, emotion
),
shared AS (
    SELECT
        *,
        CASE WHEN emotion IS NOT NULL THEN speech_seconds / nullif(sum(speech_seconds) OVER of_labelled, 0) END AS share,
        sum(speech_seconds) OVER of_labelled AS all_seconds,
        sum(emotion_by_all) OVER of_labelled AS all_squared,
        sum(segments_squared) OVER of_labelled AS all_segments_squared,
        round(sum(part_of_recordings) OVER of_labelled) AS clusters
    FROM summed
    WINDOW of_labelled AS (PARTITION BY model, dimensions, emotion IS NULL)
),
{share_bounds}
SELECT
    $date::DATE AS date,
    model,
    dimensions,
    emotion,
    segments,
    speech_seconds,
    uncertain_seconds,
    share,
    share_low,
    share_high,
    mean_probability,
    affect,
    recordings,
    labelled,
    orders
FROM bounded
ORDER BY model, dimensions::VARCHAR, emotion
