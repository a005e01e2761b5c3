-- Deletes the analyses of one day that newer ones replace.
DELETE FROM lake.analyses
WHERE date = $date
  AND (recording_id, model) IN (SELECT (recording_id, model) FROM replaced WHERE date = $date)
