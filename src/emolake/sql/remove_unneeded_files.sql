-- One row per file that no snapshot needs; all are removed, however young.
CALL ducklake_cleanup_old_files('lake', cleanup_all => true)
