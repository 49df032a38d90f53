"""The whole promise on one machine, in a minute."""
