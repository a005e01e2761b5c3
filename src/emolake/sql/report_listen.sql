-- One row per call that is among the first of its day for a reason: what the page chooses from, the highest scores first.
SELECT date, model, reason, role, uri, dimensions, recorded_at_local, score, why, listen_from_s
FROM listen_first
WHERE date BETWEEN $first AND $last AND rank <= $of_each_day
QUALIFY row_number() OVER (PARTITION BY model, reason ORDER BY score DESC, uri, channel) <= $most_calls
ORDER BY model, reason, score DESC, uri, channel
