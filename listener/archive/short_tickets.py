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

from listener.system.connection_table import peer_of

NAME_CHARACTERS: Final = 22
MOST_NAMES: Final = 256


class ShortTickets:
    """The tickets with a short name. Safe for several threads."""

    def __init__(self) -> None:
        # By name: peer, its network, and the ticket; oldest first.
        self._tickets: dict[str, tuple[str, str, str]] = {}
        self._lock = threading.Lock()

    def add(self, ticket: str, peer: str) -> str:
        """Store a ticket and return its name.

        Where there are too many, the oldest of the peer that has the most gives way: of the network
        first, because a host has as many addresses in an IPv6 network as it likes.

        Args:
            ticket: as issued.
            peer: address of the client; empty for the Unix socket.
        """
        name = secrets.token_urlsafe(16)
        with self._lock:
            while len(self._tickets) >= MOST_NAMES:
                del self._tickets[self._find_oldest_of_the_most()]
            self._tickets[name] = (*peer_of(peer), ticket)
        return name

    def take(self, name: str) -> str:
        """Remove and return the ticket of a short name; any other text is returned as it is."""
        if len(name) != NAME_CHARACTERS:
            return name
        with self._lock:
            _, _, ticket = self._tickets.pop(name, ("", "", name))
        return ticket

    def _find_oldest_of_the_most(self) -> str:
        networks = Counter(network for _, network, _ in self._tickets.values())
        most = max(networks.values())
        peers = Counter(
            peer for peer, network, _ in self._tickets.values() if networks[network] == most
        )
        most = max(peers.values())
        return next(name for name, (peer, *_) in self._tickets.items() if peers[peer] == most)
