"""Checks of this machine and its installation, each with a hint on what to do."""
