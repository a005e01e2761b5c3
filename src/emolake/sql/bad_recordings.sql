-- One row per recording that is quarantined or truncated, of one run or of all.
SELECT date, status, uri, error
FROM lake.recordings
WHERE status IN ('quarantined', 'truncated') AND ($run_id IS NULL OR run_id = $run_id)
ORDER BY date, status, uri
