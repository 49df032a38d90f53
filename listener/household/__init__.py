"""Owners, devices and services of a household, and their certificates."""
