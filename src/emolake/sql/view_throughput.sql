-- One row per run that ended and analysed audio: how fast it was, and where its time went.
SELECT
    run_id,
    flow,
    outcome,
    model,
    device,
    started_at,
    first_date,
    last_date,
    done AS recordings,
    segments,
    audio_seconds / 3600 AS audio_hours,
    speech_seconds / 3600 AS speech_hours,
    wall_s,
    audio_seconds / nullif(wall_s, 0) AS speed,
    wall_s / nullif(audio_seconds / 3600, 0) AS wall_s_per_audio_hour,
    timings,
    first(stage.key ORDER BY stage.value DESC, stage.key) AS slowest_stage
FROM runs
LEFT JOIN LATERAL (SELECT unnest(map_entries(runs.timings)) AS stage) AS stages ON true
WHERE outcome <> 'running' AND audio_seconds > 0
GROUP BY ALL
