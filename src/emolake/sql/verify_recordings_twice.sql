-- One row per recording of the range that is there more than once, on whatever days.
SELECT
    min(date) AS date,
    format('recording {} is there {} times', recording_id, count(*)) AS breach,
    format('SELECT * FROM recordings WHERE recording_id = ''{}''', recording_id) AS query
FROM lake.recordings
WHERE recording_id IN (SELECT recording_id FROM lake.recordings WHERE date BETWEEN $first AND $last)
GROUP BY recording_id
HAVING count(*) > 1
ORDER BY ALL
