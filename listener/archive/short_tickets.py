"""Short names of tickets, for clients that accept at most 64 characters.

A ticket carries its request and can be long (``challenges``). ``earmark clips`` of before decision
0040 accepts at most 64 characters, so it receives a short name in place of the ticket. Short names
take memory: they are bounded, and a peer that requests many displaces its own. No other client uses
them.
"""

import secrets
import threading
from collections import Counter
from typing import Final

NAME_CHARACTERS: Final = 22
MOST_NAMES: Final = 256


class ShortTickets:
    """The tickets with a short name. Safe for several threads."""

    def __init__(self) -> None:
        self._tickets: dict[str, tuple[str, str]] = {}  # by name: peer and ticket, oldest first
        self._lock = threading.Lock()

    def add(self, ticket: str, peer: str) -> str:
        """Store a ticket and return its name.

        Where there are too many, the oldest of the peer that has the most gives way.

        Args:
            ticket: as issued.
            peer: address of the client; empty for the Unix socket.
        """
        name = secrets.token_urlsafe(16)
        with self._lock:
            while len(self._tickets) >= MOST_NAMES:
                number = Counter(peer for peer, _ in self._tickets.values())
                most = max(number.values())
                oldest = next(
                    name for name, (peer, _) in self._tickets.items() if number[peer] == most
                )
                del self._tickets[oldest]
            self._tickets[name] = (peer, ticket)
        return name

    def take(self, name: str) -> str:
        """Remove and return the ticket of a short name; any other text is returned as it is."""
        if len(name) != NAME_CHARACTERS:
            return name
        with self._lock:
            _, ticket = self._tickets.pop(name, ("", name))
        return ticket
