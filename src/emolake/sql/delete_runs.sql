-- Deletes every run's row, to be written again.
DELETE FROM lake.runs
