-- One row per dimension: how many values it has.
SELECT dimension, count(DISTINCT value) AS number
FROM report_cells
WHERE dimension <> ''
GROUP BY dimension
ORDER BY dimension
