-- One row: how many rows were kept aside.
SELECT count(*) FROM kept
