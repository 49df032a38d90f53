"""One folder a model: a manifest, a card, and the file where its licence lets us carry it."""
