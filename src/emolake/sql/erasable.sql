-- One row per recording to be erased and each day that one of the tables holds something of it, with how much that is.
SELECT recording_id, date, count(*) AS rows
FROM lake.{table} SEMI JOIN requested USING (recording_id)
GROUP BY recording_id, date
