"""Datagrams and announced locks between the processes of one device."""
