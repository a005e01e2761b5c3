-- One row: the recordings of a range of days (of one run, where $run_id is not NULL) at each stage from analysed to
-- labelled, and the first names of those that fell out before it, with the reason of those that could not be decoded.
-- Recordings that are no longer at the source do not count. A label without speech, which a gate that is off lets
-- through, counts as speech.
WITH labelled AS (
    SELECT
        recording_id,
        bool_or(label IS NOT NULL) AS with_label,
        bool_or(speech_ratio > 0 OR label IS NOT NULL) AS with_speech
    FROM lake.segments
    WHERE date BETWEEN $first AND $last AND ($model::VARCHAR IS NULL OR model = $model)
    GROUP BY recording_id
),
analysed AS (
    SELECT
        recordings.uri,
        recordings.uri || ' (' || coalesce(recordings.error, recordings.status) || ')' AS with_reason,
        recordings.status NOT IN ('quarantined', 'excluded') AS decoded,
        coalesce(labelled.with_speech, false) AS with_speech,
        coalesce(labelled.with_label, false) AS with_label
    FROM lake.recordings
    LEFT JOIN labelled USING (recording_id)
    WHERE recordings.date BETWEEN $first AND $last
      AND recordings.deleted_at IS NULL
      AND ($run_id::VARCHAR IS NULL OR recordings.run_id = $run_id)
)
SELECT
    count(*) AS analysed,
    count(*) FILTER (decoded) AS decoded,
    count(*) FILTER (decoded AND with_speech) AS with_speech,
    count(*) FILTER (decoded AND with_label) AS with_label,
    coalesce(min(with_reason, $examples) FILTER (NOT decoded), []) AS not_decoded_names,
    coalesce(min(uri, $examples) FILTER (decoded AND NOT with_speech), []) AS no_speech_names,
    coalesce(min(uri, $examples) FILTER (decoded AND with_speech AND NOT with_label), []) AS no_label_names
FROM analysed
