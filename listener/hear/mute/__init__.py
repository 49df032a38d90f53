"""Mute state: hardware switch, software mute and fault."""
