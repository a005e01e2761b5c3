-- One row: what became of the recordings of the days, by the ledger of the model; of days of which nothing was analysed, by no ledger.
SELECT
    coalesce(sum(listed), 0)::BIGINT AS listed,
    coalesce(sum(labelled), 0)::BIGINT AS labelled,
    coalesce(sum(quarantined), 0)::BIGINT AS quarantined,
    coalesce(sum(audio_seconds), 0) / 3600 AS audio_hours,
    coalesce(sum(speech_seconds), 0) / 3600 AS speech_hours
FROM coverage
WHERE date BETWEEN $first AND $last AND (model = $model OR model IS NULL)
