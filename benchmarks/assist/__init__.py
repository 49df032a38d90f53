"""Accuracy of the assistant from packages alone, on voices and sentences fixed beforehand."""
