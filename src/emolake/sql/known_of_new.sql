-- One row per recording of the shard that the lake knows and model that has analysed it (NULL when none has),
-- whatever its day.
SELECT recordings.recording_id, recordings.date, analyses.model, analyses.version, analyses.config_id
FROM lake.recordings
SEMI JOIN new_recordings USING (recording_id)
LEFT JOIN lake.analyses USING (recording_id)
