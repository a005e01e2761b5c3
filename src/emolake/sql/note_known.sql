-- Notes the recordings of a day that came from this source, as they are before the day is listed.
INSERT INTO known_before
SELECT date, recording_id, uri, version, committed_at, deleted_at
FROM lake.recordings
WHERE date = $date AND starts_with(uri, $source)
