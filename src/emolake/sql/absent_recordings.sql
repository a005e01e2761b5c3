-- One row per recording that the listing of the day lacked and that is not marked yet.
SELECT recording_id, uri, version, committed_at
FROM known_before
ANTI JOIN seen USING (date, recording_id)
WHERE date = $date AND deleted_at IS NULL
ORDER BY uri
