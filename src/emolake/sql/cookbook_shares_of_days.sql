-- Shares of several days: seconds are added up first. avg(share) would give a quiet Sunday the weight of a busy Monday.
SELECT model, emotion, sum(speech_seconds) / sum(sum(speech_seconds)) OVER (PARTITION BY model) AS share
FROM daily_emotions WHERE emotion IS NOT NULL GROUP BY model, emotion ORDER BY model, emotion
