-- Deletes the daily table's rows of one day, without those of some models.
DELETE FROM lake.daily_emotions WHERE date = $date AND NOT list_contains($without::VARCHAR[], model)
