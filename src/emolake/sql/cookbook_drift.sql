-- One row per day and measure that drifted, with what it was on the 28 days before, oldest first.
SELECT
    drift.date,
    drift.model,
    drift.dimension,
    drift.dimension_value,
    drift.measure,
    drift.verdict,
    drift.value,
    drift.usual,
    list(earlier.value ORDER BY earlier.date) AS before
FROM drift
JOIN drift AS earlier USING (model, config_id, dimension, dimension_value, measure)
WHERE drift.verdict IN ('warn', 'fail') AND earlier.date BETWEEN drift.date - 28 AND drift.date - 1
GROUP BY ALL
ORDER BY drift.date DESC, drift.measure
