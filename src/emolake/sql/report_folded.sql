-- One row per model and emotion that is folded into others, with its share of the model's labelled speech.
SELECT model, own_emotion AS emotion, sum(seconds) / any_value(all_seconds) AS share
FROM report_speech
JOIN (
    SELECT model, sum(seconds) AS all_seconds FROM report_speech WHERE emotion IS NOT NULL GROUP BY model
) AS totals USING (model)
WHERE emotion = 'folded'
GROUP BY model, own_emotion
ORDER BY model, share DESC, emotion
