"""Evaluation of wake words: false wakes per hour and misses, with confidence intervals."""
