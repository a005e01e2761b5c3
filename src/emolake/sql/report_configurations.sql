-- One row per model, fingerprint and configuration in the ledger: two for one model mean that its days do not compare.
SELECT
    model,
    model_fingerprint,
    config_id,
    count(*) AS recordings,
    sum(segments)::BIGINT AS segments,
    min(date) AS first,
    max(date) AS last
FROM analyses
WHERE date BETWEEN $first AND $last
GROUP BY model, model_fingerprint, config_id
ORDER BY model, first, last, config_id
