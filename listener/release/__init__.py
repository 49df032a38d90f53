"""What a release is, and what becomes of one that is installed. Pure."""
