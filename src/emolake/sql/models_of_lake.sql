-- One row per model that the ledger or the daily table names.
SELECT model FROM lake.analyses
UNION
SELECT model FROM lake.daily_emotions
ORDER BY model
