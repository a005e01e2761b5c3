-- Deletes some days of a range from one table.
DELETE FROM lake.{table}
WHERE date BETWEEN $first AND $last AND list_contains($dates::DATE[], date)
