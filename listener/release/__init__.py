"""The release file, version order, and the state of an update. Pure."""
