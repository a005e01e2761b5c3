-- One row per reason to listen to a call, and call, model and channel: the ones that are most worth it first, by day. Every
-- score is 0 to 1, and is taken times seconds / (seconds + 10) of labelled speech, so that no single window comes first.
WITH by_emotion AS (
    SELECT
        date,
        recording_id,
        model,
        channel,
        emotion,
        arg_max(start_s, (confidence, -start_s)) AS surest_s,
        min((confidence, start_s)) AS least_sure
    FROM segments_wide
    WHERE emotion IS NOT NULL AND deleted_at IS NULL
    GROUP BY date, recording_id, model, channel, emotion
),
moments AS (
    SELECT
        date,
        recording_id,
        model,
        channel,
        map_from_entries(list((emotion, surest_s))) AS surest_s,
        min(least_sure)[2] AS least_sure_s
    FROM by_emotion
    GROUP BY date, recording_id, model, channel
),
described AS (
    SELECT
        calls.*,
        moments.surest_s,
        moments.least_sure_s,
        -- Shares begin with the largest.
        [name FOR name IN map_keys(shares) IF name NOT IN ('neutral', 'calm')][1] AS strongest
    FROM calls
    JOIN moments USING (date, recording_id, model, channel)
),
reasons AS (
    SELECT
        *,
        unnest(
            [
                struct_pack(
                    name := 'most extreme',
                    emotion := strongest,
                    score := shares[strongest],
                    from_s := surest_s[strongest],
                    why := format('{{:.0f}} % {{}}', 100 * shares[strongest], strongest)
                ),
                struct_pack(
                    name := 'most mixed',
                    emotion := dominant_emotion,
                    score := mixture,
                    from_s := 0.0,
                    why := format('{{}} emotions, none above {{:.0f}} %', cardinality(shares), 100 * dominant_share)
                ),
                struct_pack(
                    name := 'most changed',
                    emotion := risen_emotion,
                    score := change,
                    from_s := 0.75 * duration_s,
                    why := format('{{}} {{:+.0f}} points from the first to the last quarter', risen_emotion, 100 * risen_by)
                ),
                struct_pack(
                    name := 'least sure',
                    emotion := dominant_emotion,
                    score := 1 - mean_confidence,
                    from_s := least_sure_s,
                    why := format('mean probability {{:.2f}}', mean_confidence)
                )
            ]
        ) AS reason
    FROM described
),
scored AS (
    SELECT *, reason.score * labelled_seconds / (labelled_seconds + 10) AS score FROM reasons
)
SELECT
    date,
    model,
    reason.name AS reason,
    row_number() OVER (PARTITION BY date, model, reason.name ORDER BY score DESC, labelled_seconds DESC, uri, channel) AS rank,
    recording_id,
    uri,
    channel,
    role,
    recorded_at_local,
    dimensions,
    score,
    reason.emotion AS emotion,
    reason.why AS why,
    reason.from_s AS listen_from_s,
    labelled_seconds
FROM scored
WHERE score > 1e-9
