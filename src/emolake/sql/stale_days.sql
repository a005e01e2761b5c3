-- One row per asked day whose aggregates were not made from the ledger as it stands now, or by other dimensions.
WITH ledger AS (
    SELECT
        date,
        concat_ws(
            ' ',
            count(*),
            bit_xor(hash(recording_id, model, version, config_id, committed_at)),
            list_aggregate($dimensions::VARCHAR[], 'string_agg', ',')
        ) AS ledger_state
    FROM lake.analyses
    WHERE date BETWEEN $first AND $last
    GROUP BY date
)
SELECT ledger.date, ledger.ledger_state
FROM ledger
ANTI JOIN lake.aggregations USING (date, ledger_state)
ORDER BY ledger.date
