-- One row per day, emotion and value of the dimension (NULL: all recordings): the share of the 7 or 28 days that end with it.
SELECT date, value, emotion, share, share_low, share_high, recordings
FROM trend
WHERE model = $model AND date BETWEEN $first AND $last AND days = $days AND dimension IS NOT DISTINCT FROM $dimension
ORDER BY date, value, emotion
