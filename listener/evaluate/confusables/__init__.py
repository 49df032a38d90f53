"""What sounds like a wake word, and whether it wakes."""
