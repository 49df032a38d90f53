"""Rates from the traces that ``earmark survey`` kept, at any threshold."""
