-- One row per run of the range and model: whether the model may be trusted, and how far its labels have drifted.
SELECT started_at, model_health.run_id, model_health.model, verdict, drift, logit_range_mean, label_entropy, commonest_label,
    commonest_share, model_health.segments
FROM model_health
JOIN runs USING (run_id)
WHERE runs.last_date >= $first AND runs.first_date <= $last
ORDER BY started_at DESC, model_health.model
LIMIT $most_rows
