-- One row: how the logits and labels of one run's segments are spread, and how far the shares of labels lie from
-- those of the 28 days before its first day.
WITH given AS (
    SELECT label, logit_range, date
    FROM lake.segments
    WHERE run_id = $run_id AND model = $model AND label IS NOT NULL AND date BETWEEN $first AND $last
),
shares AS (
    SELECT label, count(*) / sum(count(*)) OVER () AS share
    FROM given
    GROUP BY label
),
earlier AS (
    SELECT label, count(*) / sum(count(*)) OVER () AS share
    FROM lake.segments
    WHERE model = $model
      AND label IS NOT NULL
      AND date BETWEEN $first - INTERVAL 28 DAY AND $first - INTERVAL 1 DAY
    GROUP BY label
),
distance AS (
    SELECT sum(abs(coalesce(shares.share, 0) - coalesce(earlier.share, 0))) / 2 AS drift
    FROM shares
    FULL JOIN earlier USING (label)
)
SELECT
    (SELECT count(*) FROM given) AS segments,
    (SELECT avg(logit_range) FROM given) AS logit_range_mean,
    (SELECT stddev_samp(logit_range) FROM given) AS logit_range_sd,
    (SELECT -sum(share * ln(share)) FROM shares) AS label_entropy,
    (SELECT label FROM shares ORDER BY share DESC, label LIMIT 1) AS commonest_label,
    (SELECT max(share) FROM shares) AS commonest_share,
    CASE WHEN EXISTS (FROM earlier) THEN (SELECT drift FROM distance) END AS drift
