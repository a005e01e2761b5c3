-- Replaces the warnings of a run that has ended.
UPDATE lake.runs SET warnings = $warnings WHERE run_id = $run_id
