-- One row: the last day that the lake holds recordings of; NULL where it holds none.
SELECT max(date) FROM lake.recordings
