-- Notes recordings that the listing of a day has shown.
INSERT INTO seen SELECT $date, recording_id FROM listed_now
