-- Deletes the recordings' rows of one day that newer ones replace.
DELETE FROM lake.recordings
WHERE date = $date AND recording_id IN (SELECT recording_id FROM replaced WHERE date = $date)
