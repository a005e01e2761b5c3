-- One row per stretch of a call with the same emotion.
SELECT channel, role, start_s, end_s, emotion, speech_s, mean_confidence
FROM timeline
WHERE model = $model AND date = $date AND recording_id = $recording_id
ORDER BY channel, start_s
