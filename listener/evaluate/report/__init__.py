"""Reports of a result: HTML page with charts, CSV tables, text summary."""
