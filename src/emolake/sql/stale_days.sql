-- One row per asked day whose aggregates were not made from the ledger as it is now, or by other dimensions;
-- also a day whose last recording has left it.
-- A day with rows of a run whose model was found flat is held back: its older aggregates stay.
WITH days AS (
    SELECT date FROM lake.analyses WHERE date BETWEEN $first AND $last
    UNION
    SELECT date FROM lake.aggregations WHERE date BETWEEN $first AND $last
),
flat AS (
    SELECT run_id, model, true AS is_flat FROM lake.model_health WHERE verdict = 'flat'
),
ledger AS (
    SELECT
        days.date,
        concat_ws(
            ' ',
            count(recording_id),
            bit_xor(hash(recording_id, model, version, config_id, committed_at)),
            list_aggregate($dimensions::VARCHAR[], 'string_agg', ',')
        ) AS ledger_state,
        coalesce(bool_or(is_flat), false) AS held_back
    FROM days
    LEFT JOIN (FROM lake.analyses WHERE date BETWEEN $first AND $last) AS analyses USING (date)
    LEFT JOIN flat USING (run_id, model)
    GROUP BY days.date
)
SELECT ledger.date, ledger.ledger_state
FROM ledger
ANTI JOIN lake.aggregations USING (date, ledger_state)
WHERE ledger.held_back = $held_back
ORDER BY ledger.date
