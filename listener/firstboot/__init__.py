"""The verb ``first-boot``: a speaker set up by a file on its boot partition."""
