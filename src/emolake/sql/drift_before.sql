-- One row per day, model, look and measure of the range that has a value, of enough recordings.
SELECT date, model, config_id, dimension, dimension_value, measure, value, label_seconds, recordings
FROM lake.drift
WHERE date BETWEEN $first AND $last
  AND recordings >= $least_recordings
  AND (value IS NOT NULL OR label_seconds IS NOT NULL)
ORDER BY date
