-- One row per day: what the signals of the recordings that were measured and are still at the source are like.
WITH measured AS (
    SELECT date, uri, level_dbfs, bandwidth_hz, clipped_share, channel_correlation, signal_notes
    FROM recordings
    WHERE clipped_share IS NOT NULL AND deleted_at IS NULL
),
noted AS (
    SELECT date, note, count(*) AS recordings
    FROM (SELECT date, unnest(signal_notes) AS note FROM measured)
    GROUP BY date, note
),
gathered AS (
    SELECT date, map_from_entries(list((note, recordings) ORDER BY recordings DESC, note)) AS notes
    FROM noted
    GROUP BY date
)
SELECT
    measured.date,
    count(*) AS recordings,
    count(*) FILTER (bandwidth_hz <= 4000) AS telephone,
    count(*) FILTER (bandwidth_hz > 4000) AS wide_band,
    median(level_dbfs) AS median_level_dbfs,
    quantile_cont(level_dbfs, 0.05) AS low_level_dbfs,
    quantile_cont(level_dbfs, 0.95) AS high_level_dbfs,
    max(clipped_share) AS most_clipped_share,
    count(signal_notes) AS odd,
    count(signal_notes) / count(*) AS odd_share,
    any_value(gathered.notes) AS notes,
    coalesce(min(uri, 3) FILTER (signal_notes IS NOT NULL), []) AS examples
FROM measured
LEFT JOIN gathered USING (date)
GROUP BY measured.date
