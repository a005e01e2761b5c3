-- Common table expressions from `shared` to `bounded`, which adds share_low and share_high to its rows. Of `shared` they need
-- share, all_seconds, all_squared, all_segments_squared, clusters, emotion_squared, emotion_by_all and emotion_by_share.
--
-- share_low and share_high are Wilson's score interval at 95 % of as many draws as tell as much. The variance of the share
-- is the largest of three: of a ratio of sums over recordings, linearised (Woodruff 1971, J. Am. Stat. Assoc. 66, 411-414);
-- the same as if the emotion's calls were as long as others, since few calls with it may be short by chance; and that of
-- independent segments. The draws are share (1 - share) over it (Korn & Graubard 1998, Survey Methodology
-- 24, 193-201), and where that says nothing, at 0 and 1, as many recordings of equal weight as tell as much (Kish 1965).
-- The quantile is Student's with one degree of freedom less than that many recordings, at least 1. Of one recording
-- there is no interval. `bench/share_intervals.py` measures how often it holds the truth.
equalled AS (
    SELECT *, all_seconds ** 2 / nullif(all_squared, 0) AS equal_recordings FROM shared
),
varied AS (
    SELECT
        *,
        greatest(equal_recordings - 1, 1) AS freedom,
        greatest(
            clusters / nullif(clusters - 1, 0) * (emotion_squared - 2 * share * emotion_by_all + share ** 2 * all_squared)
                / nullif(all_seconds, 0) ** 2,
            (emotion_by_share / nullif(all_seconds, 0) - share ** 2) / greatest(equal_recordings - 1, 1),
            share * (1 - share) * all_segments_squared / nullif(all_seconds, 0) ** 2
        ) AS variance
    FROM equalled
),
scored AS (
    SELECT
        *,
        -- Student's quantile of 0.975 within 0.2 % from one degree of freedom on.
        1.959964 * exp(1.2103 / freedom + 0.7225 / freedom ** 2 + 0.07 / freedom ** 3 - 0.134 / freedom ** 4) AS student,
        CASE WHEN share * (1 - share) > 0 AND variance > 0 THEN share * (1 - share) / variance ELSE equal_recordings END
            AS draws
    FROM varied
),
centred AS (
    SELECT
        *,
        (share + student ** 2 / draws / 2) / (1 + student ** 2 / draws) AS centre,
        student * sqrt(share * (1 - share) / draws + student ** 2 / draws ** 2 / 4) / (1 + student ** 2 / draws) AS half
    FROM scored
),
bounded AS (
    SELECT
        *,
        -- A share of 0 or 1 is an end itself; rounding must not say otherwise.
        CASE WHEN clusters > 1 AND share IS NOT NULL THEN greatest(least(centre - half, share), 0) END AS share_low,
        CASE WHEN clusters > 1 AND share IS NOT NULL THEN least(greatest(centre + half, share), 1) END AS share_high
    FROM centred
)
