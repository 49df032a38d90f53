"""Only the owner can open it."""
