-- One row per row of the daily table of a day that is missing, left over, or not what a query over segments gives;
-- models of `without` are not compared.
WITH held AS (
    SELECT
        *,
        dimensions::VARCHAR AS shown,
        count(*) OVER (PARTITION BY model, dimensions::VARCHAR, emotion) AS copies,
        -- A day that an earlier version aggregated has no intervals at all.
        count(share_low) OVER () > 0 AS has_intervals
    FROM lake.daily_emotions
    WHERE date = $date AND NOT list_contains($without::VARCHAR[], model)
),
made AS (
    SELECT *, dimensions::VARCHAR AS shown FROM expected
),
compared AS (
    SELECT
        coalesce(made.model, held.model) AS model,
        coalesce(made.shown, held.shown) AS shown,
        coalesce(made.emotion, held.emotion) AS emotion,
        CASE
            WHEN held.model IS NULL THEN format('is missing: {} segments are not in it', made.segments)
            WHEN made.model IS NULL THEN format('is left over: no segment gives its {}', held.segments)
            WHEN copies > 1 THEN format('is there {} times', copies)
            WHEN held.segments <> made.segments OR held.recordings <> made.recordings THEN
                format(
                    'has {} segments of {} recordings, and segments gives {} of {}',
                    held.segments, held.recordings, made.segments, made.recordings
                )
            WHEN abs(held.speech_seconds - made.speech_seconds) > 1e-6 * greatest(1, made.speech_seconds) THEN
                format('has {:.3f} s of speech, and segments gives {:.3f} s', held.speech_seconds, made.speech_seconds)
            WHEN abs(held.uncertain_seconds - made.uncertain_seconds) > 1e-6 * greatest(1, made.speech_seconds) THEN
                format(
                    'has {:.3f} s of uncertain speech, and segments gives {:.3f} s',
                    held.uncertain_seconds, made.uncertain_seconds
                )
            WHEN abs(held.share - made.share) > 1e-6 OR (held.share IS NULL) <> (made.share IS NULL) THEN
                format('has the share {}, and segments gives {}', coalesce(held.share::VARCHAR, 'NULL'), coalesce(made.share::VARCHAR, 'NULL'))
            WHEN has_intervals AND (
                abs(held.share_low - made.share_low) > 1e-6 OR (held.share_low IS NULL) <> (made.share_low IS NULL)
                OR abs(held.share_high - made.share_high) > 1e-6 OR (held.share_high IS NULL) <> (made.share_high IS NULL)
            ) THEN
                format(
                    'has the interval {} to {}, and segments gives {} to {}',
                    coalesce(held.share_low::VARCHAR, 'NULL'),
                    coalesce(held.share_high::VARCHAR, 'NULL'),
                    coalesce(made.share_low::VARCHAR, 'NULL'),
                    coalesce(made.share_high::VARCHAR, 'NULL')
                )
            WHEN abs(held.share_adjusted - made.share_adjusted) > 1e-6
                OR (held.share_adjusted IS NULL) <> (made.share_adjusted IS NULL) THEN
                format('has the adjusted share {}, and segments gives {}', coalesce(held.share_adjusted::VARCHAR, 'NULL'), coalesce(made.share_adjusted::VARCHAR, 'NULL'))
            WHEN abs(held.share_adjusted_low - made.share_adjusted_low) > 1e-6
                OR (held.share_adjusted_low IS NULL) <> (made.share_adjusted_low IS NULL)
                OR abs(held.share_adjusted_high - made.share_adjusted_high) > 1e-6
                OR (held.share_adjusted_high IS NULL) <> (made.share_adjusted_high IS NULL) THEN
                format(
                    'has the adjusted interval {} to {}, and segments gives {} to {}',
                    coalesce(held.share_adjusted_low::VARCHAR, 'NULL'),
                    coalesce(held.share_adjusted_high::VARCHAR, 'NULL'),
                    coalesce(made.share_adjusted_low::VARCHAR, 'NULL'),
                    coalesce(made.share_adjusted_high::VARCHAR, 'NULL')
                )
            WHEN abs(held.mean_probability - made.mean_probability) > 1e-6
                OR (held.mean_probability IS NULL) <> (made.mean_probability IS NULL) THEN
                format('has the mean probability {}, and segments gives {}', coalesce(held.mean_probability::VARCHAR, 'NULL'), coalesce(made.mean_probability::VARCHAR, 'NULL'))
            WHEN abs(coalesce(held.affect['arousal'], 0) - coalesce(made.affect['arousal'], 0)) > 1e-5
                OR abs(coalesce(held.affect['dominance'], 0) - coalesce(made.affect['dominance'], 0)) > 1e-5
                OR abs(coalesce(held.affect['valence'], 0) - coalesce(made.affect['valence'], 0)) > 1e-5 THEN
                'has another mean affect than segments gives'
        END AS fault
    FROM made
    FULL JOIN held
        ON made.model = held.model AND made.shown = held.shown AND made.emotion IS NOT DISTINCT FROM held.emotion
)
SELECT DISTINCT
    $date::DATE AS date,
    format('the row of {}, {}, {} {}', model, shown, coalesce(emotion, 'no emotion'), fault) AS breach,
    format(
        'SELECT (SELECT count(*) FROM segments WHERE date = daily_emotions.date AND model = daily_emotions.model '
        'AND emotion IS NOT DISTINCT FROM daily_emotions.emotion) AS segments_of_all_dimensions, * '
        'FROM daily_emotions WHERE date = ''{}'' AND model = ''{}''',
        $date::DATE, replace(model, '''', '''''')
    ) AS query
FROM compared
WHERE fault IS NOT NULL
ORDER BY ALL
