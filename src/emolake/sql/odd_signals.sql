-- One row per oddity of the signals of the range: how many recordings have it, and the first of them.
SELECT note, count(*) AS recordings, min(uri) AS example
FROM (
    SELECT unnest(signal_notes) AS note, uri
    FROM recordings
    WHERE date BETWEEN $first AND $last
)
GROUP BY note
ORDER BY recordings DESC, note
