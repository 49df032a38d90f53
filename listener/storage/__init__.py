"""Files on disk: atomic writes, the data directory, the access log, recordings."""
