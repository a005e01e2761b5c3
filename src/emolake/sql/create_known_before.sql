-- Which recordings the lake held of the days that are listed, before their listing began: 28 bytes each.
CREATE TEMP TABLE IF NOT EXISTS known_before (date DATE, id UHUGEINT, committed_at TIMESTAMPTZ)
