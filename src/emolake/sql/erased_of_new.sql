-- One row per recording of the shard that was erased, and may not come back.
SELECT recording_id
FROM new_recordings
SEMI JOIN lake.erasures ON recording_hash = sha256(recording_id)
