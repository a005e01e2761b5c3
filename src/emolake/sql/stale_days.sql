-- One row per asked day whose aggregates were not made from the ledger as it stands now, or by other dimensions;
-- also a day whose last recording has left it.
WITH days AS (
    SELECT date FROM lake.analyses WHERE date BETWEEN $first AND $last
    UNION
    SELECT date FROM lake.aggregations WHERE date BETWEEN $first AND $last
),
ledger AS (
    SELECT
        days.date,
        concat_ws(
            ' ',
            count(recording_id),
            bit_xor(hash(recording_id, model, version, config_id, committed_at)),
            list_aggregate($dimensions::VARCHAR[], 'string_agg', ',')
        ) AS ledger_state
    FROM days
    LEFT JOIN (FROM lake.analyses WHERE date BETWEEN $first AND $last) AS analyses USING (date)
    GROUP BY days.date
)
SELECT ledger.date, ledger.ledger_state
FROM ledger
ANTI JOIN lake.aggregations USING (date, ledger_state)
ORDER BY ledger.date
