"""Attribution by voice: voiceprints, and what is computed from speaker embeddings. Pure."""
