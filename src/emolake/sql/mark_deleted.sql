-- Sets or takes away the mark of recordings that nobody has committed again since the day was listed.
UPDATE lake.recordings
SET deleted_at = $deleted_at::TIMESTAMPTZ
WHERE date = $date
  AND (recording_id, version, committed_at) IN (SELECT (recording_id, version, committed_at) FROM marked)
