"""Corpora: items from manifests and folders, played with room responses and noise."""
