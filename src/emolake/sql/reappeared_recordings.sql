-- One row per recording of the day that is marked as deleted at the source, and was listed.
SELECT recording_id, uri, version, committed_at
FROM known_before
SEMI JOIN seen USING (date, recording_id)
WHERE date = $date AND deleted_at IS NOT NULL
ORDER BY uri
