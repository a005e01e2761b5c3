-- One row per recording of this source that is marked as deleted there, and that the listing of the day has shown; none
-- that was committed since the listing began.
SELECT recording_id, uri, version, committed_at
FROM lake.recordings
SEMI JOIN (FROM seen_again WHERE date = $date) AS known
    ON id = md5_number(recording_id) AND known.committed_at = recordings.committed_at
WHERE date = $date AND deleted_at IS NOT NULL AND starts_with(uri, $source)
