"""Builders of lock files, the Debian package and images; none of it runs on a speaker."""
