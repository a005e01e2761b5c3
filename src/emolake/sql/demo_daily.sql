-- One row per day, site and emotion, without what got no label.
SELECT
    date,
    dimensions['site'] AS site,
    emotion,
    segments,
    round(speech_seconds, 1) AS speech_seconds,
    round(share, 3) AS share,
    round(mean_probability, 3) AS mean_probability,
    recordings
FROM daily_emotions
WHERE emotion IS NOT NULL
ORDER BY date, site, share DESC
