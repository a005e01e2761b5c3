"""Where recordings lie: storage, key patterns, and who may be analysed."""
