-- One row per model, selection and emotion: its share of the selection's labelled speech, with the interval that
-- share_bounds.sql explains. Selections (`kind`, `dimension`, `value`): the range; each role; each value of a dimension;
-- each period by its number; the last `change` periods (recent), and as many before them.
WITH pools AS (
    SELECT 'range' AS kind, '' AS dimension, '' AS value, cells.* EXCLUDE (dimension, value)
    FROM report_cells AS cells
    WHERE dimension = '' AND role = '*'
    UNION ALL BY NAME
    SELECT 'role' AS kind, '' AS dimension, role AS value, cells.* EXCLUDE (dimension, value)
    FROM report_cells AS cells
    WHERE dimension = '' AND role <> '*'
    UNION ALL BY NAME
    SELECT 'value' AS kind, * FROM report_cells WHERE dimension <> '' AND role = '*' AND place < $most_values
    UNION ALL BY NAME
    SELECT 'period' AS kind, '' AS dimension, period::VARCHAR AS value, cells.* EXCLUDE (dimension, value)
    FROM report_cells AS cells
    WHERE dimension = '' AND role = '*'
    UNION ALL BY NAME
    SELECT
        CASE WHEN period >= $periods - $change THEN 'recent' ELSE 'before' END AS kind,
        '' AS dimension,
        '' AS value,
        cells.* EXCLUDE (dimension, value)
    FROM report_cells AS cells
    WHERE dimension = '' AND role = '*' AND period >= $periods - 2 * $change
),
summed AS (
    SELECT
        model,
        kind,
        dimension,
        value,
        emotion,
        sum(segments)::BIGINT AS segments,
        sum(recordings) AS recordings_with,
        sum(seconds) AS seconds,
        sum(emotion_squared) AS emotion_squared,
        sum(emotion_by_all) AS emotion_by_all,
        sum(emotion_by_share) AS emotion_by_share,
        sum(part_of_recordings) AS part_of_recordings,
        sum(uncertain_seconds) AS uncertain_seconds,
        sum(confidence_seconds) AS confidence_seconds,
        sum(segments_squared) AS segments_squared
    FROM pools
    GROUP BY ALL
),
-- A selection has a row for each of its model's emotions, one with nothing of it for those that it lacks.
whole AS (
    SELECT
        model,
        kind,
        dimension,
        value,
        emotion,
        coalesce(segments, 0) AS segments,
        coalesce(recordings_with, 0)::BIGINT AS recordings_with,
        coalesce(seconds, 0) AS seconds,
        coalesce(emotion_squared, 0) AS emotion_squared,
        coalesce(emotion_by_all, 0) AS emotion_by_all,
        coalesce(emotion_by_share, 0) AS emotion_by_share,
        coalesce(part_of_recordings, 0) AS part_of_recordings,
        coalesce(uncertain_seconds, 0) AS uncertain_seconds,
        coalesce(confidence_seconds, 0) AS confidence_seconds,
        coalesce(segments_squared, 0) AS segments_squared
    FROM (SELECT DISTINCT model, kind, dimension, value FROM summed)
    JOIN (SELECT DISTINCT model, emotion FROM summed WHERE emotion IS NOT NULL) USING (model)
    LEFT JOIN summed USING (model, kind, dimension, value, emotion)
),
shared AS (
    SELECT
        *,
        seconds / nullif(sum(seconds) OVER of_selection, 0) AS share,
        sum(seconds) OVER of_selection AS all_seconds,
        sum(emotion_by_all) OVER of_selection AS all_squared,
        sum(segments_squared) OVER of_selection AS all_segments_squared,
        round(sum(part_of_recordings) OVER of_selection) AS clusters
    FROM whole
    WINDOW of_selection AS (PARTITION BY model, kind, dimension, value)
),
{share_bounds}
SELECT
    model,
    kind,
    dimension,
    value,
    emotion,
    segments,
    recordings_with AS recordings,
    clusters::BIGINT AS all_recordings,
    seconds,
    all_seconds,
    share,
    share_low AS low,
    share_high AS high,
    uncertain_seconds / nullif(seconds, 0) AS uncertain,
    confidence_seconds / nullif(seconds, 0) AS confidence
FROM bounded
ORDER BY model, kind, dimension, value, emotion
