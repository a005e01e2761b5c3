-- One row per run, the newest first.
SELECT
    started_at,
    flow,
    outcome,
    first_date,
    last_date,
    found,
    done,
    quarantined,
    audio_seconds / 3600 AS audio_hours,
    coalesce(wall_s, extract(epoch FROM now() - started_at)) AS wall_s,
    error
FROM runs
ORDER BY started_at DESC, run_id
LIMIT $most
