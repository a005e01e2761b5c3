-- One row per asked day, model and look at it (all of it, by role, by a dimension): what drift is measured by. What a
-- degenerate model said of a day is left out, as it is from the daily table.
WITH flat AS (
    SELECT DISTINCT date, model
    FROM lake.analyses
    SEMI JOIN (FROM lake.model_health WHERE verdict = 'flat') AS flat USING (run_id, model)
    WHERE date BETWEEN $first AND $last
),
pieces AS (
    SELECT
        date,
        model,
        recording_id,
        role,
        label,
        mode(config_id) AS config_id,
        sum(end_s - start_s) AS seconds,
        sum((end_s - start_s) * speech_ratio) AS speech_seconds,
        count(*) AS segments,
        sum(confidence) AS confidence,
        count(*) FILTER (uncertain) AS uncertain,
        count(uncertain) AS marked
    FROM lake.segments
    ANTI JOIN flat USING (date, model)
    WHERE date BETWEEN $first AND $last AND list_contains($days::DATE[], date)
    GROUP BY date, model, recording_id, role, label
),
looks AS (
    SELECT
        pieces.*,
        recordings.level_dbfs,
        recordings.clipped_share,
        recordings.bandwidth_hz,
        unnest(
            [{'name': '', 'value': ''}]
            || CASE WHEN role IS NULL THEN [] ELSE [{'name': 'role', 'value': role}] END
            || [{'name': name, 'value': coalesce(dimensions[name], '')} FOR name IN $dimensions::VARCHAR[]]
        ) AS look
    FROM pieces
    JOIN (
        SELECT recording_id, date, dimensions, level_dbfs, clipped_share, bandwidth_hz
        FROM lake.recordings
        WHERE date BETWEEN $first AND $last
    ) AS recordings USING (recording_id, date)
),
labelled AS (
    SELECT
        date,
        model,
        look,
        map_from_entries(list((label, seconds) ORDER BY label)) AS label_seconds,
        -sum(CASE WHEN share > 0 THEN share * ln(share) ELSE 0 END) AS label_entropy
    FROM (
        SELECT
            date,
            model,
            look,
            label,
            sum(speech_seconds) AS seconds,
            sum(speech_seconds) / nullif(sum(sum(speech_seconds)) OVER (PARTITION BY date, model, look), 0) AS share
        FROM looks
        WHERE label IS NOT NULL
        GROUP BY date, model, look, label
    ) AS shares
    GROUP BY date, model, look
),
scored AS (
    SELECT
        date,
        model,
        look,
        mode(config_id) AS config_id,
        sum(confidence) / nullif(sum(segments) FILTER (label IS NOT NULL), 0) AS confidence,
        sum(uncertain) / nullif(sum(marked), 0) AS uncertain_share,
        coalesce(sum(seconds) FILTER (label IS NULL), 0) / nullif(sum(seconds), 0) AS no_speech_share
    FROM looks
    GROUP BY date, model, look
),
recorded AS (
    SELECT
        date,
        model,
        look,
        count(*) AS recordings,
        avg(level_dbfs) AS level_dbfs,
        avg((clipped_share >= 0.001)::INTEGER) AS clipped_recordings,
        avg(bandwidth_hz) AS bandwidth_hz
    FROM (SELECT DISTINCT date, model, look, recording_id, level_dbfs, clipped_share, bandwidth_hz FROM looks)
    GROUP BY date, model, look
)
SELECT
    date,
    model,
    look.name AS dimension,
    look.value AS dimension_value,
    scored.config_id,
    recorded.recordings,
    labelled.label_seconds,
    labelled.label_entropy,
    scored.confidence::DOUBLE AS confidence,
    scored.uncertain_share::DOUBLE AS uncertain_share,
    scored.no_speech_share::DOUBLE AS no_speech_share,
    recorded.level_dbfs,
    recorded.clipped_recordings,
    recorded.bandwidth_hz
FROM scored
JOIN recorded USING (date, model, look)
LEFT JOIN labelled USING (date, model, look)
ORDER BY date, model, dimension, dimension_value
