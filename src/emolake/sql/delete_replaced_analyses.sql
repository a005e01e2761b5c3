-- Deletes the rows that a table holds of one day's analyses which newer ones replace.
DELETE FROM lake.{table}
WHERE date = $date
  AND (recording_id, model) IN (SELECT (recording_id, model) FROM replaced WHERE date = $date)
