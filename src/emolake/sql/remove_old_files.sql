-- One row per file that no snapshot has needed since a moment; without a dry run it is removed.
CALL ducklake_cleanup_old_files('lake', older_than => $older_than, dry_run => $dry_run)
