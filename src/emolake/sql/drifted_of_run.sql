-- One row per comparison that warned or failed in one run, the least probable first.
SELECT date, measure
FROM lake.drift
WHERE run_id = $run_id AND verdict IN ('warn', 'fail')
ORDER BY chance, date, measure
