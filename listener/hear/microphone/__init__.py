"""Sources of sound: recordings, or a device that is read by a child process."""
