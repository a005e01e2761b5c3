-- One row per call to listen to, of the days, for one reason: the first of all days come first.
SELECT
    date,
    role,
    channel,
    why,
    listen_from_s,
    labelled_seconds,
    uri,
    recorded_at_local,
    score,
    recording_id
FROM listen_first
WHERE model = $model AND date BETWEEN $first AND $last AND reason = $reason
ORDER BY score DESC, labelled_seconds DESC, uri, channel
LIMIT $most
