"""Wake-word detection for clients of the Wyoming protocol."""
