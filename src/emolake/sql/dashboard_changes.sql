-- One row per emotion: the share of the 7 or 28 days that end with the last one, and its change from as many before.
SELECT emotion, share, share_low, share_high, share_before, change, change_low, change_high, recordings, recordings_before
FROM trend
WHERE
    model = $model
    AND days = $days
    AND dimension IS NULL
    AND date = (
        SELECT max(date) FROM trend WHERE model = $model AND date BETWEEN $first AND $last AND dimension IS NULL
    )
ORDER BY abs(change) DESC NULLS LAST, share DESC
