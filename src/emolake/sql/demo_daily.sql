-- One row per day, site and emotion, without what got no label.
SELECT
    date,
    dimensions['site'] AS site,
    emotion,
    segments,
    round(speech_seconds, 1) AS speech_seconds,
    round(share, 3) AS share,
    round(share_low, 2) AS share_low,
    round(share_high, 2) AS share_high,
    round(share_adjusted, 2) AS share_adjusted,
    round(uncertain_seconds / nullif(speech_seconds, 0), 2) AS uncertain,
    recordings
FROM daily_emotions
WHERE emotion IS NOT NULL
ORDER BY date, site, share DESC
