"""What an owner asks, what she is given in writing, and how she checks it. Pure, for both sides."""
