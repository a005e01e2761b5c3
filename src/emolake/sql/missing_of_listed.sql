-- One row per listed object, in the listing's order, that the ledger does not hold with this version, model and configuration.
SELECT listed.position
FROM listed
ANTI JOIN (
    SELECT recording_id, version
    FROM lake.analyses
    WHERE date = $date AND model = $model AND config_id = $config_id
) AS done USING (recording_id, version)
ORDER BY listed.position
