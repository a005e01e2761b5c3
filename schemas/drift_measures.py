"""What is compared with the days before; apart from the columns, so that settings need no pyarrow."""

DRIFT_MEASURES = {
    "population_stability": "population stability index of the shares of labels, against the earlier days together",
    "label_entropy": "Shannon entropy of the shares of labels, in nat",
    "confidence": "mean confidence of the labelled segments",
    "uncertain_share": "share of the labelled segments that are marked uncertain",
    "no_speech_share": "share of the time that got no label",
    "level_dbfs": "mean level of the recordings, in dBFS",
    "clipped_recordings": "share of the recordings of which one sample in 1000 or more is at full scale",
    "bandwidth_hz": "mean bandwidth of the recordings, in Hz",
}
"""What is compared with the days before, and what it is."""
