"""From the microphone to a sealed envelope; no network."""
