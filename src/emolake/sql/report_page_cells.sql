-- One row per period, model, value of a dimension and role, with its emotions: what the page adds up.
SELECT
    period,
    model,
    dimension,
    value,
    role,
    coalesce(round(sum(part_of_recordings) FILTER (emotion IS NOT NULL)), 0)::BIGINT AS recordings,
    sum(segments)::BIGINT AS segments,
    coalesce(sum(segments) FILTER (emotion IS NULL), 0)::BIGINT AS unlabelled,
    coalesce(sum(emotion_by_all) FILTER (emotion IS NOT NULL), 0) AS all_squared,
    coalesce(sum(segments_squared) FILTER (emotion IS NOT NULL), 0) AS segments_squared,
    coalesce(
        list(
            {
                emotion: emotion,
                seconds: seconds,
                emotion_squared: emotion_squared,
                emotion_by_all: emotion_by_all,
                emotion_by_share: emotion_by_share,
                uncertain_seconds: uncertain_seconds,
                confidence_seconds: confidence_seconds
            }
            ORDER BY emotion
        ) FILTER (emotion IS NOT NULL AND seconds > 0),
        []
    ) AS emotions
FROM report_cells
WHERE dimension = '' OR place < $most_values
GROUP BY period, model, dimension, value, role
ORDER BY period, model, dimension, value, role
