-- One row per asked day whose aggregates were not made from the ledger as it stands now, or by other dimensions.
-- A day with rows of a run whose model was found flat is held back: its older aggregates stay.
WITH ledger AS (
    SELECT
        date,
        concat_ws(
            ' ',
            count(*),
            bit_xor(hash(recording_id, model, version, config_id, committed_at)),
            list_aggregate($dimensions::VARCHAR[], 'string_agg', ',')
        ) AS ledger_state,
        bool_or((run_id, model) IN (SELECT (run_id, model) FROM lake.model_health WHERE verdict = 'flat')) AS held_back
    FROM lake.analyses
    WHERE date BETWEEN $first AND $last
    GROUP BY date
)
SELECT ledger.date, ledger.ledger_state
FROM ledger
ANTI JOIN lake.aggregations USING (date, ledger_state)
WHERE ledger.held_back = $held_back
ORDER BY ledger.date
