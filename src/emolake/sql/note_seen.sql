-- Notes recordings that the listing of a day has shown.
INSERT INTO seen SELECT $date, md5_number(recording_id) FROM listed_now
