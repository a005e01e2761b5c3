-- One row per day and stage at which recordings fell out, or were labelled; days of which nothing was analysed are there too.
UNPIVOT (
    SELECT date, labelled, no_label, no_speech, held_back, not_analysed, quarantined, excluded
    FROM coverage
    WHERE date BETWEEN $first AND $last AND (model = $model OR model IS NULL)
)
ON labelled, no_label, no_speech, held_back, not_analysed, quarantined, excluded INTO NAME stage VALUE recordings
