-- Deletes the daily table's rows of some days of a range, without those of some models.
DELETE FROM lake.daily_emotions
WHERE date BETWEEN $first AND $last
  AND list_contains($dates::DATE[], date)
  AND NOT list_contains($without::VARCHAR[], model)
