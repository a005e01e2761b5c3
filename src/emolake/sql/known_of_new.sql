-- One row per recording of the shard that the lake knows, whatever its day. An identifier is a hash of the URI, so the
-- bounds leave out nothing; by them files of other days and places are passed over, which identifiers do not allow.
SELECT recording_id, date
FROM lake.recordings
SEMI JOIN new_recordings USING (recording_id)
WHERE uri BETWEEN $first AND $last
