"""What was heard."""
