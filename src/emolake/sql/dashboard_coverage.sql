-- One row per day and stage at which recordings fell out, or were labelled.
UNPIVOT (
    SELECT date, labelled, no_label, no_speech, held_back, not_analysed, quarantined, excluded
    FROM coverage
    WHERE date BETWEEN $first AND $last AND model IS NOT DISTINCT FROM $model
)
ON labelled, no_label, no_speech, held_back, not_analysed, quarantined, excluded INTO NAME stage VALUE recordings
