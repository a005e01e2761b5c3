-- One row per run whose errors, named keys or warnings hold one of the erased keys.
SELECT run_id
FROM lake.runs
JOIN requested ON contains(error, key)
    OR contains(array_to_string(named_keys, chr(10)), key)
    OR contains(array_to_string(warnings, chr(10)), key)
GROUP BY run_id
