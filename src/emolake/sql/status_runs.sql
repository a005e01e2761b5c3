-- One row per run that is at work, or among the newest, or the newest of its flow that has ended; the newest first. Every
-- column that there is: a lake of an earlier version lacks some.
SELECT *
FROM lake.runs
QUALIFY
    outcome = 'running'
    OR row_number() OVER (ORDER BY started_at DESC, run_id) <= $most_runs
    OR row_number() OVER (PARTITION BY flow, outcome = 'running' ORDER BY started_at DESC, run_id) = 1
ORDER BY started_at DESC, run_id
