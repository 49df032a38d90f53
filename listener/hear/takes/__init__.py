"""Takes: recordings of a wake word by a person, for the training of that word."""
