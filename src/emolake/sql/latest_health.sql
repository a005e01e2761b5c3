-- One row per model: its newest verdict.
SELECT model, verdict, run_id, committed_at, segments, logit_range_mean, drift
FROM lake.model_health
QUALIFY row_number() OVER (PARTITION BY model ORDER BY committed_at DESC, run_id) = 1
ORDER BY model
