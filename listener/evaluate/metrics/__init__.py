"""Metrics: events from scores, and rates with confidence intervals from events."""
