-- Appends rows to a table of the lake.
INSERT INTO lake.{table} BY NAME SELECT * FROM new_rows
