"""File in which a service reports its connection to the broker, for ``earmark doctor``.

A broker of the household uses the certificate's name as client id (``use_username_as_clientid``):
a second connection with the same certificate makes it close the first. So doctor does not connect
with the certificate of a service that runs, and reads what the service reports instead.

A report counts only while the service runs: see ``listener.storage.atomic.is_running``.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from listener.errors import Unavailable
from listener.mqtt.client import (
    Broker,
    BrokerEvent,
    ConnectedEvent,
    ConnectionLostEvent,
    Message,
    Waitable,
)
from listener.storage.atomic import read_plain_file, write_atomic

_LIMIT_BYTES: Final = 4096


class ConnectionRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of a service's connection to the broker."""

    address: str
    """Host and port that the service connects to."""
    connected: bool
    protocol: str = ""
    """MQTT version of the connection, or of none."""
    reason: str = ""
    """Reason of the last failure or loss; empty before the first attempt has ended."""
    hint: str = ""
    """Instruction for that reason, or empty."""


def record_path(folder: Path, verb: str, number: int = 1) -> Path:
    """Return the path of a service's record.

    Args:
        folder: the folder of the service's lock file.
        verb: the service's command, such as ``send``.
        number: of the connection, for a service with several, from 1 on.
    """
    return folder / (
        f"{verb}.connection.json" if number == 1 else f"{verb}.connection-{number}.json"
    )


def read_record(path: Path) -> ConnectionRecord | None:
    """Return what the service reported last; None if there is no valid report."""
    try:
        return msgspec.json.decode(read_plain_file(path, _LIMIT_BYTES), type=ConnectionRecord)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None


class RecordedBroker:
    """Broker client that keeps a record of its connection. For one thread.

    The file is written when the state changes. A disk that cannot be written loses the record and
    nothing else.

    Args:
        broker: the client.
        path: of the record, in a folder that exists.
        address: host and port of the broker, where its events do not say.
    """

    def __init__(self, broker: Broker, path: Path, address: str) -> None:
        self._broker: Final = broker
        self._path: Final = path
        self._written: ConnectionRecord | None = None
        self._address: Final = address

    def connect(self) -> None:
        """As ``Broker.connect``."""
        if self._written is None:  # what an earlier process reported is not true any more
            self._write(ConnectionRecord(address=self._address, connected=False))
        self._broker.connect()

    def subscribe(self, pattern: str) -> None:
        """As ``Broker.subscribe``."""
        self._broker.subscribe(pattern)

    def publish(self, message: Message) -> int:
        """As ``Broker.publish``."""
        return self._broker.publish(message)

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """As ``Broker.poll``."""
        events = self._broker.poll(longest_s, also)
        for event in events:
            if isinstance(event, ConnectedEvent):
                self._write(
                    ConnectionRecord(
                        address=event.address or self._address,
                        connected=True,
                        protocol=event.protocol,
                    )
                )
            elif isinstance(event, ConnectionLostEvent):
                self._write(
                    ConnectionRecord(
                        address=event.address or self._address,
                        connected=False,
                        reason=event.reason,
                        hint=event.hint,
                    )
                )
        return events

    def close(self) -> None:
        """As ``Broker.close``."""
        self._broker.close()

    def _write(self, record: ConnectionRecord) -> None:
        if record == self._written:
            return
        with contextlib.suppress(Unavailable):
            write_atomic(self._path, msgspec.json.encode(record))
            self._written = record
