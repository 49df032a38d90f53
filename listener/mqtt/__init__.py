"""The road between devices and archive: what is said under which topic, and the broker's client."""
