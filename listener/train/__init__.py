"""Training of a wake word from a typed phrase: speech synthesis, features, heads, report."""
