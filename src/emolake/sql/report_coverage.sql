-- One row per day and model of the range: what became of the recordings that were listed.
SELECT date, model, listed, excluded, quarantined, not_analysed, held_back, no_speech, no_label, labelled, truncated, audio_seconds
FROM coverage
WHERE date BETWEEN $first AND $last
ORDER BY date, model
