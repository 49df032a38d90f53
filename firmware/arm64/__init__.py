"""The speaker's wheels and our models on the oldest processor they must run on, emulated."""
