-- Merges the small files of a table.
CALL ducklake_merge_adjacent_files('lake', $table)
