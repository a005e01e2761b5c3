-- Deletes the rows that a table holds of one day's recordings which newer ones replace.
DELETE FROM lake.{table}
WHERE date = $date AND recording_id IN (SELECT recording_id FROM replaced WHERE date = $date)
