-- Which recordings the lake held of the days that are listed, before their listing began, and the listing has not shown:
-- 29 bytes each, and the disk where there is no room.
CREATE TEMP TABLE IF NOT EXISTS known_before (date DATE, id UHUGEINT, committed_at TIMESTAMPTZ, deleted BOOLEAN)
