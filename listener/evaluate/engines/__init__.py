"""Engines that score audio: Earmark, other packages, any program; and a cache of scores."""
