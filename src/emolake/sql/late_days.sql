-- One row per asked day of which the lake holds no recording, though it does of the same weekday one or two weeks before,
-- and which no run asked for that began after its end and completed.
WITH held AS (
    SELECT DISTINCT date FROM lake.recordings WHERE date BETWEEN $first::DATE - 14 AND $last::DATE
)
SELECT day::DATE AS date
FROM generate_series($first::DATE, $last::DATE, INTERVAL 1 DAY) AS days(day)
WHERE day::DATE NOT IN (SELECT date FROM held)
  AND (day::DATE - 7 IN (SELECT date FROM held) OR day::DATE - 14 IN (SELECT date FROM held))
  AND NOT EXISTS (
      FROM lake.runs
      WHERE outcome = 'completed'
        AND day::DATE BETWEEN first_date AND last_date
        AND started_at >= timezone($zone, (day::DATE + 1)::TIMESTAMP)
  )
ORDER BY date
