-- One row per file, older than a moment, that the catalog does not know; without a dry run it is removed.
CALL ducklake_delete_orphaned_files('lake', older_than => $older_than, dry_run => $dry_run)
