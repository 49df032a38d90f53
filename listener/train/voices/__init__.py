"""Synthetic voices: engines of this machine, and neural voices that were added to it."""
