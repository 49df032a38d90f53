"""Admission of network connections: bounded in all, for each address and for each IPv6 network.

When the table is full, the newest connection is not simply refused: a connection of the busiest
address gives way, an idle one first and the oldest first. An address is busier if it holds more
connections, or if it used many more connections and requests in the last minutes. So neither one
host with many connections nor many hosts that reconnect exclude another host. Pure but for the
clock.
"""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

MOST_PROVEN_PEERS: Final = 256
MOST_USED_NETWORKS: Final = 1024
"""Networks whose uses are counted; the one with the oldest last use is forgotten first."""
USE_HALF_LIFE_S: Final = 60.0
"""Time after which a use, a connection or a request, counts half."""


GRACE_TURNS: Final = 8
"""Turns of the server's event loop, besides ``grace_s``, for which an idle connection keeps its
place: a TLS handshake and a request take about six. A server that is late would otherwise close
every connection before it has read its first request."""
LONGEST_GRACE_S: Final = 5.0
"""Limit of that time together; a handshake may take as long."""


class Phase(Enum):
    """State of a connection."""

    IDLE = auto()
    """No complete request: TLS handshake, headers or body are pending, or nothing at all."""
    BUSY = auto()
    """A complete request that proves nothing is answered."""
    PROVEN = auto()
    """A request that an owner has proven is carried out; it never gives way."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of a `ConnectionTable`."""

    most: int
    """Connections in all."""
    most_per_peer: int
    """Connections of one address."""
    most_per_network: int
    """Connections of one IPv6 network of 64 bits: a host may use any number of its addresses."""
    grace_s: float
    """Time for which an idle connection keeps its place against addresses as busy as its own. It is
    longer if the server is late itself, see `ConnectionTable.note_delay`."""
    fair_uses: int = 8
    """Uses beyond twice those of a new connection's address, from which another one is busier."""


class TableEntry(Protocol):
    """A connection, as its table sees it."""

    @property
    def phase(self) -> Phase:
        """State of the connection."""

    @property
    def since_s(self) -> float:
        """Time of the admission or of the last response, on the monotonic clock."""

    def close(self) -> None:
        """Close the connection at once; called when it gives way."""


Entry = TypeVar("Entry", bound=TableEntry)


class ConnectionTable(Generic[Entry]):
    """The open connections of one listening socket. For one thread.

    Args:
        limits: the limits.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(self, limits: ConnectionLimits, monotonic_s: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic_s = monotonic_s
        self._peers: dict[Entry, _Peer] = {}
        self._proven: OrderedDict[str, None] = OrderedDict()
        self._uses: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Number of uses, and the time at which it was right, by network."""
        self._delay_s = 0.0
        self.refused = 0
        """Connections that were not admitted."""
        self.evicted = 0
        """Connections that gave way to another one."""

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the connections; they may be released meanwhile."""
        return iter(tuple(self._peers))

    def admit(self, address: str, added: Entry) -> bool:
        """Admit a new connection, after closing another one if necessary.

        Args:
            address: IP address of the peer.
            added: the connection.

        Returns:
            False if it is not admitted, and must be closed.
        """
        peer = _Peer(*peer_of(address))
        crowd = self._crowd_of(peer)
        if crowd is not None:
            victim = self._find_victim(crowd, peer)
            if victim is None:
                self.refused += 1
                return False
            self.evicted += 1
            self.release(victim)
            victim.close()
        self._peers[added] = peer
        self._count_use(peer.network)
        return True

    def release(self, connection: Entry) -> None:
        """Remove a connection that is closed; unknown ones are ignored."""
        self._peers.pop(connection, None)

    def note_proof(self, address: str) -> None:
        """Prefer an address from which an owner proved a request, until the process ends."""
        peer, _ = peer_of(address)
        self._proven[peer] = None
        self._proven.move_to_end(peer)
        if len(self._proven) > MOST_PROVEN_PEERS:
            self._proven.popitem(last=False)

    def note_delay(self, delay_s: float) -> None:
        """Let idle connections keep their places for longer, because the server is late itself.

        Args:
            delay_s: time by which a turn of the server's event loop is late, 0 or more.
        """
        self._delay_s = delay_s

    def note_request(self, address: str) -> None:
        """Count a request of an address; its connection counts by itself."""
        self._count_use(peer_of(address)[1])

    def is_proven(self, address: str) -> bool:
        """Return whether an owner proved a request from this address."""
        return peer_of(address)[0] in self._proven

    def _count_use(self, network: str) -> None:
        now_s = self._monotonic_s()
        self._uses[network] = (self._recent_uses(network, now_s) + 1, now_s)
        self._uses.move_to_end(network)
        if len(self._uses) > MOST_USED_NETWORKS:
            self._uses.popitem(last=False)

    def _recent_uses(self, network: str, now_s: float) -> float:
        number, at_s = self._uses.get(network, (0.0, now_s))
        return number * float(0.5 ** ((now_s - at_s) / USE_HALF_LIFE_S))

    def _crowd_of(self, peer: "_Peer") -> list[Entry] | None:
        """Return the connections of which one must give way; None while there is room."""
        own = [entry for entry, other in self._peers.items() if other == peer]
        if len(own) >= self._limits.most_per_peer:
            return own
        if peer.network != peer.address:
            near = [e for e, other in self._peers.items() if other.network == peer.network]
            if len(near) >= self._limits.most_per_network:
                return near
        return list(self._peers) if len(self._peers) >= self._limits.most else None

    def _grace_s(self) -> float:
        given_s = self._limits.grace_s
        return max(given_s, min(given_s + GRACE_TURNS * self._delay_s, LONGEST_GRACE_S))

    def _find_victim(self, crowd: Iterable[Entry], peer: "_Peer") -> Entry | None:
        counts = Counter(self._peers.values())
        now_s = self._monotonic_s()
        uses = {each.network: self._recent_uses(each.network, now_s) for each in (*counts, peer)}
        fair_uses = 2 * uses[peer.network] + self._limits.fair_uses
        is_preferred = peer.address in self._proven
        oldest_s = now_s - self._grace_s()
        found: Entry | None = None
        best: tuple[bool, bool, bool, int, float] | None = None
        for entry in crowd:
            other = self._peers[entry]
            is_stranger = other.address not in self._proven
            is_idle = entry.phase is Phase.IDLE
            if entry.phase is Phase.PROVEN:
                continue
            if not is_stranger and not is_preferred:
                continue
            is_busier = (
                counts[other] > counts[peer] + 1
                or uses[other.network] > fair_uses
                or (is_preferred and is_stranger)
            )
            if not is_busier and (not is_idle or entry.since_s > oldest_s):
                continue
            rank = (is_stranger, is_busier, is_idle, counts[other], -entry.since_s)
            if best is None or rank > best:
                found, best = entry, rank
        return found


class _Peer(NamedTuple):
    address: str
    network: str


def peer_of(address: str) -> tuple[str, str]:
    """Return a peer's address in one spelling, and its network: itself, or the /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address, address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            network = ipaddress.IPv6Network((parsed, 64), strict=False)
            return str(parsed), str(network)
        return str(parsed.ipv4_mapped), str(parsed.ipv4_mapped)
    return str(parsed), str(parsed)
