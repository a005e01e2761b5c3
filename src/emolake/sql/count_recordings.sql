-- One row: how many recordings the lake holds.
SELECT count(*) FROM lake.recordings
