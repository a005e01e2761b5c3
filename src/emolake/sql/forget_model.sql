-- Deletes the rows that a table holds of a model on one day.
DELETE FROM lake.{table} WHERE date = $date AND model = $model
