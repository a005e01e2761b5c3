-- One row per recording, healthy model and channel, and so per role, with a segment: its emotions, how they change, how sure
-- that is, and what the conversation did. A segment on the border of a quarter counts in it by the part within.
WITH placed AS (
    SELECT
        date,
        recording_id,
        model,
        channel,
        role,
        emotion,
        confidence::DOUBLE AS confidence,
        uncertain,
        affect,
        speech_s,
        greatest(least(end_s, 0.25 * duration_s) - start_s, 0) / (end_s - start_s) AS in_first,
        greatest(end_s - greatest(start_s, 0.75 * duration_s), 0) / (end_s - start_s) AS in_last,
        lag(emotion) OVER labelled_before <> emotion AS turns
    FROM segments_wide
    WINDOW labelled_before AS (
        PARTITION BY date, recording_id, model, channel, emotion IS NULL ORDER BY segment_index
    )
),
totals AS (
    SELECT
        date,
        recording_id,
        model,
        channel,
        any_value(role) AS role,
        count(*) AS segments,
        count(emotion) AS labelled_segments,
        sum(speech_s) AS speech_seconds,
        coalesce(sum(speech_s) FILTER (emotion IS NOT NULL), 0) AS labelled_seconds,
        sum(confidence * speech_s) / nullif(sum(speech_s) FILTER (confidence IS NOT NULL), 0) AS mean_confidence,
        sum(speech_s) FILTER (uncertain) AS uncertain_seconds,
        sum(speech_s) FILTER (uncertain IS NOT NULL) AS marked_seconds,
        count(*) FILTER (turns AND emotion IS NOT NULL) AS turning_points,
        sum(affect['arousal']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0) AS arousal,
        sum(affect['dominance']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0) AS dominance,
        sum(affect['valence']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0) AS valence
    FROM placed
    GROUP BY date, recording_id, model, channel
),
summed AS (
    SELECT
        date,
        recording_id,
        model,
        channel,
        emotion,
        sum(speech_s) AS seconds,
        sum(speech_s * in_first) AS seconds_first,
        sum(speech_s * in_last) AS seconds_last
    FROM placed
    WHERE emotion IS NOT NULL
    GROUP BY date, recording_id, model, channel, emotion
),
shared AS (
    SELECT
        *,
        seconds / nullif(sum(seconds) OVER of_call, 0) AS share,
        seconds_first / nullif(sum(seconds_first) OVER of_call, 0) AS share_first,
        seconds_last / nullif(sum(seconds_last) OVER of_call, 0) AS share_last
    FROM summed
    WINDOW of_call AS (PARTITION BY date, recording_id, model, channel)
),
gathered AS (
    SELECT
        date,
        recording_id,
        model,
        channel,
        map_from_entries(list((emotion, share) ORDER BY share DESC, emotion)) AS shares,
        first(emotion ORDER BY share DESC, emotion) AS dominant_emotion,
        max(share) AS dominant_share,
        1 - sum(share ** 2) AS mixture,
        map_from_entries(list((emotion, share_first) ORDER BY share_first DESC, emotion)) AS shares_first,
        map_from_entries(list((emotion, share_last) ORDER BY share_last DESC, emotion)) AS shares_last,
        sum(abs(share_last - share_first)) / 2 AS change,
        first(emotion ORDER BY share_last - share_first DESC, emotion) AS risen_emotion,
        max(share_last - share_first) AS risen_by,
        first(share_first ORDER BY emotion) IS NOT NULL AS has_first,
        first(share_last ORDER BY emotion) IS NOT NULL AS has_last
    FROM shared
    WHERE share IS NOT NULL
    GROUP BY date, recording_id, model, channel
)
SELECT
    totals.date,
    totals.recording_id,
    recordings.uri,
    recordings.recorded_at,
    recordings.recorded_at_local,
    totals.model,
    totals.channel,
    totals.role,
    recordings.dimensions,
    recordings.status,
    recordings.deleted_at,
    recordings.duration_s,
    totals.segments,
    totals.labelled_segments,
    totals.speech_seconds,
    totals.labelled_seconds,
    gathered.shares,
    gathered.dominant_emotion,
    gathered.dominant_share,
    gathered.mixture,
    -- Of one labelled segment both quarters would be the same.
    CASE WHEN labelled_segments > 1 AND has_first THEN shares_first END AS shares_first,
    CASE WHEN labelled_segments > 1 AND has_last THEN shares_last END AS shares_last,
    CASE WHEN labelled_segments > 1 THEN change END AS change,
    CASE WHEN labelled_segments > 1 AND risen_by > 0 THEN risen_emotion END AS risen_emotion,
    CASE WHEN labelled_segments > 1 THEN risen_by END AS risen_by,
    CASE WHEN labelled_segments > 0 THEN turning_points END AS turning_points,
    totals.mean_confidence,
    coalesce(totals.uncertain_seconds, 0) / nullif(totals.marked_seconds, 0) AS uncertain_share,
    totals.arousal,
    totals.dominance,
    totals.valence,
    dynamics.talk_s,
    dynamics.talk_share,
    dynamics.silence_s,
    dynamics.overlap_s,
    dynamics.interruptions,
    dynamics.turns,
    dynamics.mean_turn_s,
    dynamics.response_s,
    dynamics.pauses,
    dynamics.mean_pause_s,
    dynamics.longest_pause_s,
    dynamics.speech_level_dbfs,
    recordings.signal_notes
FROM totals
JOIN recordings USING (date, recording_id)
LEFT JOIN gathered USING (date, recording_id, model, channel)
LEFT JOIN recording_dynamics AS dynamics USING (date, recording_id, channel)
