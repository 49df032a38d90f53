"""Scores into events, and events into rates that carry their own uncertainty."""
