"""Whether this machine can keep Earmark's promises: looked at, with what to do about it."""
