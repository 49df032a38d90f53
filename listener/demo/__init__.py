"""One-minute demonstration of hear, send, archive and owners on one machine."""
