-- One row per day of the range whose daily table does not hold the segments of its ledger. Of a day, a model one of whose
-- runs was found flat is held back: what it gave is no part of the daily table, and its older rows stay there.
WITH held_back AS (
    SELECT DISTINCT date, model
    FROM analyses
    SEMI JOIN (FROM model_health WHERE verdict = 'flat') AS flat USING (run_id, model)
    WHERE date BETWEEN $first AND $last
),
ledger AS (
    SELECT date, sum(segments) AS segments
    FROM analyses
    ANTI JOIN held_back USING (date, model)
    WHERE date BETWEEN $first AND $last
    GROUP BY date
),
daily AS (
    SELECT date, sum(segments) AS aggregated FROM daily_emotions ANTI JOIN held_back USING (date, model) GROUP BY date
)
SELECT date
FROM ledger
LEFT JOIN daily USING (date)
WHERE segments <> coalesce(aggregated, 0)
ORDER BY date
