"""Datagrams between the processes of one device."""
