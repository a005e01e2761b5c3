-- One row per quarantined or truncated recording, the newest days first; `total` counts also those beyond the most.
SELECT date, status, uri, error, count(*) OVER () AS total
FROM lake.recordings
WHERE date BETWEEN $first AND $last AND status IN ('quarantined', 'truncated')
ORDER BY date DESC, status, uri
LIMIT $most_recordings
