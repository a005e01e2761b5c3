-- Deletes what is known of the drift of one day.
DELETE FROM lake.drift WHERE date = $date
