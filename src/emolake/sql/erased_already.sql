-- One row per receipt.
SELECT recording_hash FROM lake.erasures
