-- Tells the catalog that its files lie elsewhere, if it still says that they lie where they were looked for.
UPDATE __ducklake_metadata_lake.ducklake_metadata
SET value = $new
WHERE key = 'data_path' AND scope IS NULL AND value = $old
