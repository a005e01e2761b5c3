-- Puts back the rows that were kept aside.
INSERT INTO lake.{table} BY NAME SELECT * FROM kept
