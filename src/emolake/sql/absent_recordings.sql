-- One row per recording that the listing of its day lacked and that is not marked yet.
SELECT recording_id, uri, version, committed_at
FROM known_before
ANTI JOIN seen USING (recording_id)
WHERE deleted_at IS NULL
ORDER BY uri
