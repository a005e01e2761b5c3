-- Takes the listed recordings out of those that the listing has not shown.
DELETE FROM known_before
WHERE date = $date AND id IN (SELECT md5_number(recording_id) FROM listed_now)
