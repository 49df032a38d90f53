"""Measure Earmark beside other engines; ``make bench`` writes the figures that the README shows."""
