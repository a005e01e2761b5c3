-- One row per recording of the range without a label, or that broke half-way, the newest days first: why, and which;
-- `total` counts also those beyond the most. One that any model labelled is not among them.
SELECT
    date,
    status,
    uri,
    coalesce(error, CASE status WHEN 'excluded' THEN 'excluded' WHEN 'silent' THEN 'no_speech' ELSE 'no_label' END) AS reason,
    count(*) OVER () AS total
FROM recordings
WHERE date BETWEEN $first AND $last
  AND deleted_at IS NULL
  AND (status <> 'ok' OR recording_id NOT IN (SELECT recording_id FROM report_speech WHERE emotion IS NOT NULL))
ORDER BY status NOT IN ('quarantined', 'truncated'), date DESC, status, uri
LIMIT $most_recordings
