"""Container formats, one parser a file."""
