-- One row: where the files of the lake lie, as its catalog keeps it.
SELECT value FROM {catalog}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL
