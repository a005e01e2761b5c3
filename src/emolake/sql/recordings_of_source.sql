-- One row per recording of a day that came from this source, as it stands before the day is listed.
SELECT date, recording_id, uri, version, committed_at, deleted_at
FROM lake.recordings
WHERE date = $date AND starts_with(uri, $source)
