-- Marks the runs that were at work and have given no sign of life for too long.
UPDATE lake.runs
SET
    outcome = 'died',
    finished_at = coalesce(heartbeat_at, started_at),
    error = concat_ws(', and ', error, 'the process ended without a word, the next run took up its work')
WHERE outcome = 'running' AND coalesce(heartbeat_at, started_at) <= $alive_after
