-- One row per recording of this source that the listing of the day lacked and that is not marked yet; none that was
-- committed since the listing began.
SELECT recording_id, uri, version, committed_at
FROM lake.recordings
SEMI JOIN (FROM known_before WHERE date = $date AND NOT deleted) AS known
    ON id = md5_number(recording_id) AND known.committed_at = recordings.committed_at
WHERE date = $date AND deleted_at IS NULL AND starts_with(uri, $source)
