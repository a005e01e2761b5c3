-- Forgets what was known of a day.
DELETE FROM known_before WHERE date = $date
