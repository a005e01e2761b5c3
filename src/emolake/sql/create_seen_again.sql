-- The recordings that are marked as deleted at the source, and that the listing of a day has shown.
CREATE TEMP TABLE IF NOT EXISTS seen_again (date DATE, id UHUGEINT, committed_at TIMESTAMPTZ)
