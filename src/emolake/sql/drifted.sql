-- One row per day, model, look and measure of the range that has drifted, the newest first.
SELECT date, model, dimension, dimension_value, measure, value, usual, spread, earlier_days, chance, recordings, verdict
FROM lake.drift
WHERE date BETWEEN $first AND $last AND verdict IN ('warn', 'fail')
ORDER BY date DESC, chance, model, dimension, dimension_value, measure
