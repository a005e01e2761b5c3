-- One row per run that was asked for a day of the range (for any day where the range is NULL), the newest first;
-- `total` counts also those beyond the most.
SELECT
    run_id,
    flow,
    outcome,
    started_at,
    first_date,
    last_date,
    model,
    config_id,
    found,
    skipped,
    done,
    quarantined,
    decoded,
    with_speech,
    with_label,
    not_matched,
    not_audio,
    named_keys,
    coalesce(warnings, []) AS warnings,
    audio_seconds,
    wall_s,
    real_time_factor,
    device,
    error,
    count(*) OVER () AS total
FROM runs
WHERE $first::DATE IS NULL OR (last_date >= $first::DATE AND first_date <= $last::DATE)
ORDER BY started_at DESC, run_id
LIMIT $most_runs
