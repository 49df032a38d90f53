"""Setup of a speaker by a file on its boot partition."""
