-- One row per recording that is marked as deleted at the source, and was listed.
SELECT recording_id, uri, version, committed_at
FROM known_before
SEMI JOIN seen USING (recording_id)
WHERE deleted_at IS NOT NULL
ORDER BY uri
