-- One row per recording and model of the range that the ledger holds more than once, on whatever days.
SELECT
    min(date) AS date,
    format('recording {} has {} analyses by {}', recording_id, count(*), model) AS breach,
    format(
        'SELECT * FROM analyses WHERE recording_id = ''{}'' AND model = ''{}''', recording_id, replace(model, '''', '''''')
    ) AS query
FROM lake.analyses
WHERE recording_id IN (SELECT recording_id FROM lake.analyses WHERE date BETWEEN $first AND $last)
GROUP BY recording_id, model
HAVING count(*) > 1
ORDER BY ALL
