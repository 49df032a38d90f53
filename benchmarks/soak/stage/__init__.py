"""Simulated sound card."""
