"""The owner's client: requests to the archive, pinned keys, and verification of exports."""
