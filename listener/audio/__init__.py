"""Audio: frames and gaps, ring buffer, clips, FLAC and levels."""
