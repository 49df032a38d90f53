"""Voice control: consents, asks, command copies and replies, and the rules of their time."""
