-- One row: the recordings of the range, and those that could not be read.
SELECT count(*) AS recordings, count(*) FILTER (status = 'quarantined') AS quarantined
FROM recordings
WHERE date BETWEEN $first AND $last AND deleted_at IS NULL
