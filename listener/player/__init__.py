"""The player: opens replies and plays them and built-in sounds; playback only."""
