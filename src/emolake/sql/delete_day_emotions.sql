-- Deletes the aggregates of one day.
DELETE FROM lake.daily_emotions WHERE date = $date
