-- One row per day of the range that any table holds something of.
SELECT date FROM lake.recordings WHERE date BETWEEN $first AND $last
UNION
SELECT date FROM lake.analyses WHERE date BETWEEN $first AND $last
UNION
SELECT date FROM lake.segments WHERE date BETWEEN $first AND $last
UNION
SELECT date FROM lake.recording_dynamics WHERE date BETWEEN $first AND $last
UNION
SELECT date FROM lake.daily_emotions WHERE date BETWEEN $first AND $last
ORDER BY date
