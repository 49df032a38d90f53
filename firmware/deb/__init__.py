"""The Debian package: what it holds, and building it the same way twice."""
