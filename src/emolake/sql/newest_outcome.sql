-- One row: how the newest run of a flow that has ended did so; none where there is no such run.
SELECT outcome
FROM lake.runs
WHERE flow = $flow AND outcome <> 'running'
ORDER BY started_at DESC, run_id
LIMIT 1
