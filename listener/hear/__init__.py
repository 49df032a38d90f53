"""Audio pipeline from the microphone to an encrypted clip in the spool; without network access."""
