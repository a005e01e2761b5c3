-- The recordings that the listing of a day has shown.
CREATE TEMP TABLE IF NOT EXISTS seen (date DATE, recording_id VARCHAR)
