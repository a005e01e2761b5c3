-- One row per run that is at work now, with the days that it was asked for.
SELECT first_date, last_date
FROM lake.runs
WHERE outcome = 'running' AND heartbeat_at > $alive_after
