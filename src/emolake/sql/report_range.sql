-- One row: the days that the report covers and those that the lake holds; NULL where nothing says them.
WITH held AS (
    SELECT min(date) AS held_first, max(date) AS held_last FROM recordings
)
SELECT
    coalesce(
        $first::DATE,
        least($last::DATE, greatest(held_first, coalesce($last::DATE, held_last) - ($most_days::INTEGER - 1)))
    ) AS first,
    coalesce($last::DATE, greatest($first::DATE, held_last)) AS last,
    held_first,
    held_last
FROM held
