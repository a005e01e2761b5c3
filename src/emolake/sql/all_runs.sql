-- One row per run.
FROM lake.runs
