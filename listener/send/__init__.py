"""From the spool to the broker; cannot hear, cannot open."""
