"""Training of wake words from synthetic speech."""
