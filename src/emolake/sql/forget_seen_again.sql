-- Forgets what was seen again of a day.
DELETE FROM seen_again WHERE date = $date
