"""Voice control: opens command copies in memory, carries the command out once, and replies."""
