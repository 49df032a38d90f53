"""The card's image, from Debian packages alone."""
