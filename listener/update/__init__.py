"""The verb ``update``: from a signed release file to a version that has proved itself."""
