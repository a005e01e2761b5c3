-- What the lake held of the days that are listed, before their listing began.
CREATE TEMP TABLE IF NOT EXISTS known_before (
    date DATE,
    recording_id VARCHAR,
    uri VARCHAR,
    version VARCHAR,
    committed_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ
)
