-- One row per warning that a run has in its row.
SELECT DISTINCT unnest(warnings) AS warning
FROM lake.runs
