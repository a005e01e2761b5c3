-- One row per channel of a recording: what the conversation did.
SELECT
    channel,
    role,
    talk_s,
    talk_share,
    silence_s,
    overlap_s,
    interruptions,
    turns,
    mean_turn_s,
    response_s,
    pauses,
    mean_pause_s,
    longest_pause_s,
    speech_level_dbfs
FROM recording_dynamics
WHERE date = $date AND recording_id = $recording_id
ORDER BY channel
