-- Deletes the row of a run, which its newer state replaces in the same transaction.
DELETE FROM lake.runs WHERE run_id = $run_id
