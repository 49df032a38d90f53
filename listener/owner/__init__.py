"""Owners and devices of a household, attribution of clips, and key rotation."""
