"""Benchmarks of Earmark and other engines; ``make bench`` writes the tables of the documents."""
