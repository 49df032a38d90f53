"""The proof that sound is forgotten, as a command."""
