"""Models: a folder each, with manifest, card, and the file if its licence permits shipping it."""
