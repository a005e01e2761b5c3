-- One row per asked day and model that has rows in the ledger of a run which found it flat: they are not aggregated.
SELECT DISTINCT date, model
FROM lake.analyses
SEMI JOIN (FROM lake.model_health WHERE verdict = 'flat') AS flat USING (run_id, model)
WHERE date BETWEEN $first AND $last
ORDER BY ALL
