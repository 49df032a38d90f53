"""Live view of hear on this machine: levels, scores, states and counts, without audio."""
