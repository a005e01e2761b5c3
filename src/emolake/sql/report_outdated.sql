-- One row per day of the range whose daily table does not hold the segments of its ledger.
SELECT date
FROM (SELECT date, sum(segments) AS segments FROM analyses WHERE date BETWEEN $first AND $last GROUP BY date) AS ledger
LEFT JOIN (SELECT date, sum(segments) AS aggregated FROM daily_emotions GROUP BY date) AS daily USING (date)
WHERE segments <> coalesce(aggregated, 0)
ORDER BY date
