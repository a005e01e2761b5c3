-- Notes the recordings of a day that came from this source, as they are before the day is listed.
INSERT INTO known_before
SELECT date, md5_number(recording_id), committed_at, deleted_at IS NOT NULL
FROM lake.recordings
WHERE date = $date AND starts_with(uri, $source)
