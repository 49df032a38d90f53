"""Where sound comes from: recordings, or a device in a process of its own."""
