-- One row per asked day whose aggregates were not made from the ledger as it is now, or by other dimensions, or without
-- other models; also a day whose last recording has left it. `held_back` are the models whose rows the day holds of a
-- run that found them flat: what they said is no part of it, and their older aggregates stay. The state also has the records of
-- what the models confuse, by which shares are corrected. `lacks_intervals` are days that are stale for no other reason than
-- that a version without intervals aggregated them; one that this version gave none is marked in its state.
WITH days AS (
    SELECT date FROM lake.analyses WHERE date BETWEEN $first AND $last
    UNION
    SELECT date FROM lake.aggregations WHERE date BETWEEN $first AND $last
),
asked AS (
    SELECT analyses.*, verdict IS NOT DISTINCT FROM 'flat' AS is_flat
    FROM (FROM lake.analyses WHERE date BETWEEN $first AND $last) AS analyses
    LEFT JOIN (FROM lake.model_health WHERE verdict = 'flat') USING (run_id, model)
),
records AS (
    SELECT model_fingerprint, md5(reliability) AS reliability FROM lake.model_reliability
),
judged AS (
    SELECT *, bool_or(is_flat) OVER (PARTITION BY date, model) AS is_held_back FROM asked
),
ledger AS (
    SELECT
        days.date,
        coalesce(list(DISTINCT model ORDER BY model) FILTER (is_held_back), []) AS held_back,
        concat_ws(
            ' ',
            count(recording_id) FILTER (NOT is_held_back),
            bit_xor(hash(recording_id, model, version, config_id, committed_at)) FILTER (NOT is_held_back),
            list_aggregate($dimensions::VARCHAR[], 'string_agg', ','),
            'without ' || string_agg(DISTINCT model, ' ' ORDER BY model) FILTER (is_held_back),
            'by ' || string_agg(DISTINCT reliability, ' ' ORDER BY reliability) FILTER (NOT is_held_back)
        ) AS ledger_state
    FROM days
    LEFT JOIN judged USING (date)
    LEFT JOIN records USING (model_fingerprint)
    GROUP BY days.date
),
without_intervals AS (
    SELECT date
    FROM lake.daily_emotions
    WHERE date BETWEEN $first AND $last
    GROUP BY date
    HAVING count(share_low) = 0 AND count(*) FILTER (share IS NOT NULL AND recordings > 1) > 0
),
made AS (
    SELECT
        date,
        replace(ledger_state, $mark, '') AS ledger_state,
        without_intervals.date IS NOT NULL AND NOT suffix(ledger_state, $mark) AS lacks_intervals
    FROM lake.aggregations
    LEFT JOIN without_intervals USING (date)
)
SELECT ledger.date, ledger.ledger_state, ledger.held_back, coalesce(lacks_intervals, false) AS lacks_intervals
FROM ledger
LEFT JOIN made USING (date, ledger_state)
WHERE coalesce(lacks_intervals, true)
ORDER BY ledger.date
