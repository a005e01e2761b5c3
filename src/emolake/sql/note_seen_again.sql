-- Notes those of the listed recordings that are marked as deleted at the source.
INSERT INTO seen_again
SELECT date, id, committed_at
FROM known_before
WHERE date = $date AND deleted AND id IN (SELECT md5_number(recording_id) FROM listed_now)
