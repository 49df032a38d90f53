"""Proven tickets in the database: each is redeemed once, wherever the answer arrives."""

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.fleet.postgres import Postgres

_PERSONALISATION: Final = b"earmark-ticket-1"


def ticket_secret(key: Ed25519PrivateKey) -> bytes:
    """Derive the secret of the tickets from the archive's key, which the processes share."""
    return hashlib.blake2b(
        key.private_bytes_raw(), digest_size=32, person=_PERSONALISATION
    ).digest()


class SharedTickets:
    """Proven tickets of all processes; see ``challenges.ProvenTickets``.

    Args:
        database: the database.
    """

    def __init__(self, database: Postgres) -> None:
        self._database = database

    def use_up(self, owner: str, tag: bytes, until_ms: int) -> bool:
        """Use a ticket up; return False if any process did; see ``ProvenTickets``."""
        with self._database.transaction() as connection:
            # An hour: no process's clock differs from the database's by as much.
            connection.execute(
                "delete from used_ticket where until_ms <"
                " extract(epoch from clock_timestamp()) * 1000 - 3600000"
            )
            used = connection.execute(
                "insert into used_ticket values (%s, %s, %s) on conflict do nothing",
                (tag, owner, until_ms),
            )
        return used.rowcount == 1
