-- One row per pair of healthy models: on how many of the segments that both labelled they say the same, and Cohen's kappa
-- (1960, Educational and Psychological Measurement 20, 37-46), which is NULL where both say one and the same of everything.
WITH cells AS (
    SELECT
        model_a,
        model_b,
        emotion_a,
        emotion_b,
        count(*) AS segments
    FROM model_comparison
    GROUP BY model_a, model_b, emotion_a, emotion_b
),
by_a AS (
    SELECT model_a, model_b, emotion_a AS emotion, sum(segments) AS segments FROM cells GROUP BY ALL
),
by_b AS (
    SELECT model_a, model_b, emotion_b AS emotion, sum(segments) AS segments FROM cells GROUP BY ALL
),
chance AS (
    SELECT model_a, model_b, sum(by_a.segments::DOUBLE * by_b.segments) AS squared
    FROM by_a
    JOIN by_b USING (model_a, model_b, emotion)
    GROUP BY model_a, model_b
),
counted AS (
    SELECT
        model_a,
        model_b,
        count(DISTINCT recording_id) AS recordings,
        count(*) AS segments,
        min(date) AS first_date,
        max(date) AS last_date,
        count(*) FILTER (agree) / count(*) AS agree_share
    FROM model_comparison
    GROUP BY model_a, model_b
),
expected AS (
    SELECT counted.*, coalesce(squared, 0) / segments::DOUBLE ** 2 AS expected_share
    FROM counted
    LEFT JOIN chance USING (model_a, model_b)
),
confused AS (
    SELECT model_a, model_b, format('{{}} / {{}}', emotion_a, emotion_b) AS most_confused
    FROM cells
    WHERE emotion_a <> emotion_b
    QUALIFY row_number() OVER (PARTITION BY model_a, model_b ORDER BY segments DESC, emotion_a, emotion_b) = 1
)
SELECT
    model_a,
    model_b,
    first_date,
    last_date,
    recordings,
    segments,
    agree_share,
    expected_share,
    (agree_share - expected_share) / nullif(1 - expected_share, 0) AS kappa,
    most_confused
FROM expected
LEFT JOIN confused USING (model_a, model_b)
