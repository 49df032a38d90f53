"""Soak test: hours of audio at many times real time, with injected faults.

The real hear, send, archive and broker; only the sound card is simulated, see ``stage``.
"""
