"""Watch hear on this machine: levels, scores, states and counts. Never sound."""
