"""Checks of the microphone and the mute switch for `earmark doctor`."""
