-- One row per recording that the lake knows and model that has analysed it (NULL when none has).
SELECT known_recordings.recording_id, known_recordings.date, analyses.model, analyses.version, analyses.config_id
FROM known_recordings
LEFT JOIN lake.analyses USING (recording_id, date)
