-- One row per day and model of its ledger (NULL where nothing was analysed): what became of each recording that was listed
-- and is still at the source. `excluded` to `labelled` add up to `listed`: each recording is where it fell out first.
WITH answered AS (
    SELECT
        date,
        recording_id,
        model,
        bool_or(label IS NOT NULL) AS with_label,
        bool_or(speech_ratio > 0 OR label IS NOT NULL) AS with_speech
    FROM segments
    GROUP BY date, recording_id, model
),
ledger AS (
    SELECT analyses.date, recording_id, model, speech_seconds, verdict IS NOT NULL AS is_flat
    FROM analyses
    LEFT JOIN (FROM model_health WHERE verdict = 'flat') AS flat USING (run_id, model)
),
models AS (
    SELECT DISTINCT date, model FROM ledger
),
staged AS (
    SELECT
        recordings.date,
        models.model,
        recordings.uri,
        recordings.status,
        recordings.error,
        recordings.duration_s,
        recordings.deleted_at IS NULL AS is_there,
        ledger.speech_seconds,
        CASE
            WHEN recordings.status = 'excluded' THEN 'excluded'
            WHEN recordings.status = 'quarantined' THEN 'quarantined'
            WHEN ledger.recording_id IS NULL THEN 'not analysed'
            WHEN ledger.is_flat THEN 'held back'
            WHEN NOT coalesce(answered.with_speech, false) THEN 'no speech'
            WHEN NOT answered.with_label THEN 'no label'
            ELSE 'labelled'
        END AS stage
    FROM recordings
    LEFT JOIN models ON models.date = recordings.date
    LEFT JOIN ledger
        ON ledger.date = recordings.date AND ledger.recording_id = recordings.recording_id AND ledger.model = models.model
    LEFT JOIN answered
        ON answered.date = recordings.date AND answered.recording_id = recordings.recording_id AND answered.model = models.model
),
reasoned AS (
    SELECT date, model, map_from_entries(list((reason, recordings) ORDER BY recordings DESC, reason)) AS reasons
    FROM (
        SELECT date, model, split_part(error, ':', 1) AS reason, count(*) AS recordings
        FROM staged
        WHERE is_there AND error IS NOT NULL
        GROUP BY ALL
    )
    GROUP BY date, model
)
SELECT
    staged.date,
    staged.model,
    count(*) FILTER (is_there) AS listed,
    count(*) FILTER (is_there AND stage = 'excluded') AS excluded,
    count(*) FILTER (is_there AND stage = 'quarantined') AS quarantined,
    count(*) FILTER (is_there AND stage = 'not analysed') AS not_analysed,
    count(*) FILTER (is_there AND stage = 'held back') AS held_back,
    count(*) FILTER (is_there AND stage = 'no speech') AS no_speech,
    count(*) FILTER (is_there AND stage = 'no label') AS no_label,
    count(*) FILTER (is_there AND stage = 'labelled') AS labelled,
    count(*) FILTER (is_there AND stage = 'labelled') / nullif(count(*) FILTER (is_there), 0) AS labelled_share,
    count(*) FILTER (is_there AND status = 'truncated') AS truncated,
    count(*) FILTER (NOT is_there) AS deleted,
    coalesce(sum(duration_s) FILTER (is_there), 0) AS audio_seconds,
    coalesce(sum(speech_seconds) FILTER (is_there), 0) AS speech_seconds,
    any_value(reasoned.reasons) AS reasons,
    coalesce(
        min(uri || ' (' || coalesce(error, stage) || ')', 3) FILTER (is_there AND stage <> 'labelled'), []
    ) AS fell_out
FROM staged
LEFT JOIN reasoned
    ON reasoned.date = staged.date AND reasoned.model IS NOT DISTINCT FROM staged.model
GROUP BY staged.date, staged.model
