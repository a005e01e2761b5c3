-- One row per reason for which recordings of the range are quarantined, the commonest first.
SELECT split_part(error, ':', 1) AS reason, count(*) AS recordings, max(date) AS last_date
FROM lake.recordings
WHERE status = 'quarantined' AND date BETWEEN $first AND $last
GROUP BY reason
ORDER BY recordings DESC, reason
