-- Seconds of audio per second of the completed runs of a model; NULL when there was none.
SELECT sum(audio_seconds) / nullif(sum(wall_s), 0)
FROM lake.runs
WHERE model = $model AND outcome = 'completed' AND audio_seconds > 0
