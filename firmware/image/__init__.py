"""Builder of the card's image, from Debian packages only."""
