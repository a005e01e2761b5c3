-- One row per status and reason code of the recordings that a run quarantined or found truncated, with examples.
SELECT
    status,
    split_part(error, ':', 1) AS reason,
    count(*) AS recordings,
    list(uri ORDER BY uri)[:$examples] AS examples
FROM lake.recordings
WHERE run_id = $run_id AND status IN ('quarantined', 'truncated')
GROUP BY ALL
ORDER BY recordings DESC, status, reason
