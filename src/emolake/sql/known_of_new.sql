-- One row per recording of the shard that the lake knows and model that has analysed it (NULL when none has),
-- whatever its day. An identifier is a hash of the URI, so the bounds leave out nothing; by them files of other days and
-- places are passed over, which identifiers do not allow.
SELECT known.recording_id, known.date, analyses.model, analyses.version, analyses.config_id
FROM (
    FROM lake.recordings SEMI JOIN new_recordings USING (recording_id) WHERE uri BETWEEN $first AND $last
) AS known
LEFT JOIN lake.analyses USING (recording_id, date)
