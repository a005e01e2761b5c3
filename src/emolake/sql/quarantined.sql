-- One row per quarantined recording of the range, for any reason or for one of those asked for.
SELECT date, recording_id, uri, error
FROM lake.recordings
WHERE status = 'quarantined'
  AND date BETWEEN $first AND $last
  AND (len($reasons::VARCHAR[]) = 0 OR list_contains($reasons::VARCHAR[], split_part(error, ':', 1)))
ORDER BY date, uri
