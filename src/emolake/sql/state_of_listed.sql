-- One row per listed object, in the listing's order, with what the lake holds of it for one model and configuration:
-- done, stale (an older version or another configuration), failed (could not be read, and is tried again), erased (and
-- never analysed again) or missing.
SELECT
    listed.position,
    CASE
        WHEN recording_hash IS NOT NULL THEN 'erased'
        WHEN analyses.version = listed.version AND analyses.config_id = listed.config_id THEN 'done'
        WHEN analyses.recording_id IS NOT NULL THEN 'stale'
        WHEN recordings.status = 'quarantined' THEN 'failed'
        ELSE 'missing'
    END AS state
FROM listed
LEFT JOIN (FROM lake.analyses WHERE date = $date AND model = $model) AS analyses USING (recording_id)
LEFT JOIN (FROM lake.recordings WHERE date = $date) AS recordings USING (recording_id)
LEFT JOIN lake.erasures ON recording_hash = sha256(listed.recording_id)
ORDER BY listed.position
