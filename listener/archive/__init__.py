"""The archive: receives and stores clips that only their owners can decrypt."""
