"""Owners' requests to the archive, signed receipts and the chained access log; for both sides."""
