-- One row per model of a day that all of its analyses are of one version of, which has a record of what it confuses.
SELECT model, any_value(reliability) AS reliability
FROM lake.analyses
LEFT JOIN lake.model_reliability USING (model_fingerprint)
WHERE date = $date
GROUP BY model
HAVING count(DISTINCT model_fingerprint) = 1 AND any_value(reliability) IS NOT NULL
ORDER BY model
