-- One row per segment of a day that is there more than once.
SELECT
    $date::DATE AS date,
    format(
        'segment {} of channel {} of recording {} is there {} times for {}',
        segment_index, channel, recording_id, count(*), model
    ) AS breach,
    format(
        'SELECT * FROM segments WHERE date = ''{}'' AND recording_id = ''{}'' AND model = ''{}'' AND channel = {} '
        'AND segment_index = {}',
        $date::DATE, recording_id, replace(model, '''', ''''''), channel, segment_index
    ) AS query
FROM lake.segments
WHERE date = $date
GROUP BY recording_id, model, channel, segment_index
HAVING count(*) > 1
ORDER BY ALL
