-- Keeps a day's rows of one table aside, in the order of its key, without those of some recordings.
CREATE OR REPLACE TEMP TABLE kept AS
SELECT *
FROM lake.{table}
WHERE date = $date AND NOT list_contains($without::VARCHAR[], recording_id)
ORDER BY {key}
