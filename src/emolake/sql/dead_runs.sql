-- One row per run that was at work and has given no sign of life for too long.
SELECT run_id
FROM lake.runs
WHERE outcome = 'running' AND coalesce(heartbeat_at, started_at) <= $alive_after
ORDER BY run_id
