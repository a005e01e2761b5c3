-- One row per day of the range that was aggregated and not compared with the days before it since.
SELECT date
FROM lake.aggregations
ANTI JOIN lake.drift USING (date)
WHERE date BETWEEN $first AND $last
ORDER BY date
