"""Indicators of the device's state: LED and chime."""
