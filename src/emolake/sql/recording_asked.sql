-- One row per recording that a URI, a key below the source, or a recording_id names; an exact URI comes first.
SELECT
    recording_id,
    uri,
    version,
    date,
    recorded_at_local,
    duration_s,
    sample_rate,
    channels,
    excluded_channels,
    codec,
    level_dbfs,
    signal_notes,
    dimensions,
    status,
    error,
    deleted_at,
    size_bytes
FROM recordings
WHERE uri = $asked OR recording_id = $asked OR ends_with(uri, '/' || $asked)
ORDER BY uri = $asked DESC, uri
LIMIT 6
