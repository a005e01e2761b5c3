-- Deletes a day of one table.
DELETE FROM lake.{table} WHERE date = $date
