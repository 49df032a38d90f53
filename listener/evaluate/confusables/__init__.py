"""Confusable phrases: phrases that sound like a wake word, and their synthesis."""
