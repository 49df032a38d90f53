"""Voice commands from packages alone: recognition of the home's own sentences, and their effect."""
