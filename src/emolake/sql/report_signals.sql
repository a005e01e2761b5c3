-- One row: the recordings of the range whose signal was measured, those that sound like a telephone, and usual levels.
SELECT
    count(clipped_share) AS measured,
    count(*) FILTER (bandwidth_hz <= 4000) AS telephone,
    count(*) FILTER (bandwidth_hz > 4000) AS wide_band,
    median(level_dbfs) AS median_level_dbfs,
    quantile_cont(level_dbfs, 0.05) AS low_level_dbfs,
    quantile_cont(level_dbfs, 0.95) AS high_level_dbfs
FROM recordings
WHERE date BETWEEN $first AND $last AND deleted_at IS NULL
