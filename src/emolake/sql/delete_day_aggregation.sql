-- Deletes the note of how one day was aggregated, which a newer one replaces in the same transaction.
DELETE FROM lake.aggregations WHERE date = $date
