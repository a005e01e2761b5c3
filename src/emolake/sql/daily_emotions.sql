-- One row per day, model, dimensions and emotion; the row whose emotion is NULL holds what got no label. Of the models of
-- `with_segments` there is also the labelled speech behind each row, and the orders of its labels.
-- Dimensions are those of recordings, and `segments.role` and `segments.channel`, which are what the segment is of.
-- Models of `without` are left out. Overlapping windows own the time up to the start of the next one, so that no second of speech counts twice.
--
-- share_low and share_high are Wilson's score interval at 95 % of as many draws as tell as much. The variance of the share
-- is the largest of three: of a ratio of sums over recordings, linearised (Woodruff 1971, J. Am. Stat. Assoc. 66, 411-414);
-- the same as if the emotion's calls were as long as others, since few calls with it may be short by chance; and that of
-- independent segments. The draws are share (1 - share) over it (Korn & Graubard 1998, Survey Methodology
-- 24, 193-201), and where that says nothing, at 0 and 1, as many recordings of equal weight as tell as much (Kish 1965).
-- The quantile is Student's with one degree of freedom less than that many recordings, at least 1. Of one recording
-- there is no interval. `bench/share_intervals.py` measures how often it holds the truth.
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
            {recording: hash(recording_id), seconds: speech_s, probabilities: map_values(probabilities)}
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
equalled AS (
    SELECT *, all_seconds ** 2 / nullif(all_squared, 0) AS equal_recordings FROM shared
),
varied AS (
    SELECT
        *,
        greatest(equal_recordings - 1, 1) AS freedom,
        greatest(
            clusters / nullif(clusters - 1, 0) * (emotion_squared - 2 * share * emotion_by_all + share ** 2 * all_squared)
                / nullif(all_seconds, 0) ** 2,
            (emotion_by_share / nullif(all_seconds, 0) - share ** 2) / greatest(equal_recordings - 1, 1),
            share * (1 - share) * all_segments_squared / nullif(all_seconds, 0) ** 2
        ) AS variance
    FROM equalled
),
scored AS (
    SELECT
        *,
        -- Student's quantile of 0.975 within 0.2 % from one degree of freedom on.
        1.959964 * exp(1.2103 / freedom + 0.7225 / freedom ** 2 + 0.07 / freedom ** 3 - 0.134 / freedom ** 4) AS student,
        CASE WHEN share * (1 - share) > 0 AND variance > 0 THEN share * (1 - share) / variance ELSE equal_recordings END
            AS draws
    FROM varied
),
bounded AS (
    SELECT
        *,
        (share + student ** 2 / draws / 2) / (1 + student ** 2 / draws) AS centre,
        student * sqrt(share * (1 - share) / draws + student ** 2 / draws ** 2 / 4) / (1 + student ** 2 / draws) AS half
    FROM scored
)
SELECT
    $date::DATE AS date,
    model,
    dimensions,
    emotion,
    segments,
    speech_seconds,
    uncertain_seconds,
    share,
    -- A share of 0 or 1 is an end itself; rounding must not say otherwise.
    CASE WHEN clusters > 1 AND share IS NOT NULL THEN greatest(least(centre - half, share), 0) END AS share_low,
    CASE WHEN clusters > 1 AND share IS NOT NULL THEN least(greatest(centre + half, share), 1) END AS share_high,
    mean_probability,
    affect,
    recordings,
    labelled,
    orders
FROM bounded
ORDER BY model, dimensions::VARCHAR, emotion
