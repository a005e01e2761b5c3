-- Forgets what was seen of a day.
DELETE FROM seen WHERE date = $date
