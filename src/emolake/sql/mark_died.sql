-- Marks the runs that were at work and have given no sign of life for too long, and the one that is known to have ended.
-- What they committed is counted again: they may have died between a commit and the next sign of life.
UPDATE lake.runs
SET
    outcome = if(outcome = 'running', 'died', outcome),
    finished_at = coalesce(finished_at, heartbeat_at, started_at),
    error = if(
        outcome = 'running',
        concat_ws(', and ', error, 'the process ended without a word, the next run takes up its work'),
        error
    ),
    done = greatest(done, (SELECT count(*) FROM lake.recordings WHERE recordings.run_id = runs.run_id)),
    quarantined = greatest(
        quarantined,
        (
            SELECT count(*) FROM lake.recordings
            WHERE recordings.run_id = runs.run_id AND recordings.status = 'quarantined'
        )
    ),
    truncated = greatest(
        truncated,
        (
            SELECT count(*) FROM lake.recordings
            WHERE recordings.run_id = runs.run_id AND recordings.status = 'truncated'
        )
    ),
    segments = greatest(
        segments,
        (SELECT coalesce(sum(analyses.segments), 0) FROM lake.analyses WHERE analyses.run_id = runs.run_id)
    ),
    speech_seconds = greatest(
        speech_seconds,
        (SELECT coalesce(sum(analyses.speech_seconds), 0) FROM lake.analyses WHERE analyses.run_id = runs.run_id)
    ),
    audio_seconds = greatest(
        audio_seconds,
        (SELECT coalesce(sum(duration_s), 0) FROM lake.recordings WHERE recordings.run_id = runs.run_id)
    )
WHERE run_id = $ended OR (outcome = 'running' AND coalesce(heartbeat_at, started_at) <= $alive_after)
