"""What stands in for a sound card."""
