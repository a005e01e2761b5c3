-- The recordings that the listing of a day has shown: 20 bytes each.
CREATE TEMP TABLE IF NOT EXISTS seen (date DATE, id UHUGEINT)
