"""Client of a broker whose connections are opened in a thread of their own.

To look a host up, to open TCP and to finish a TLS handshake each block, and a broker that is
switched off answers none of them for seconds. A service with several brokers serves the others
meanwhile. The thread ends with the attempt; everything else happens in the service's thread.
"""

import contextlib
import os
import select
import threading
from collections.abc import Sequence
from typing import Final

from listener.mqtt.client import BrokerEvent, Message, SelectableBroker, Waitable


def wait_readable(waitables: Sequence[Waitable], longest_s: float) -> list[Waitable]:
    """Wait until a descriptor is readable, for at most ``longest_s``; return those that are."""
    return select.select(waitables, (), (), longest_s)[0]


class _Wakeup:
    """Event descriptor that the thread of an attempt makes readable as it ends (eventfd(2))."""

    def __init__(self) -> None:
        self._descriptor: Final = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def set(self) -> None:
        """Make it readable."""
        os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Make it unreadable."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)

    def __del__(self) -> None:
        os.close(self._descriptor)


class BackgroundConnectBroker:
    """Broker client whose ``connect`` returns at once. For one thread, but for its own.

    Args:
        broker: the client. While an attempt runs, its thread alone uses it.
    """

    def __init__(self, broker: SelectableBroker) -> None:
        self._broker: Final = broker
        self._wakeup: Final = _Wakeup()
        self._is_connecting = False
        self._lock: Final = threading.Lock()
        self._is_running = False
        self._is_closed = False

    def connect(self) -> None:
        """Start an attempt, or keep the one that runs."""
        with self._lock:
            self._is_closed = False
            was_running, self._is_running = self._is_running, True
        if not was_running:
            self._wakeup.clear()
            threading.Thread(target=self._attempt, name="connect", daemon=True).start()
        self._is_connecting = True

    def subscribe(self, pattern: str) -> None:
        """As ``Broker.subscribe``; nothing happens without a connection."""
        if not self._is_connecting:
            self._broker.subscribe(pattern)

    def publish(self, message: Message) -> int:
        """As ``Broker.publish``; return 0 without a connection."""
        return 0 if self._is_connecting else self._broker.publish(message)

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """As ``Broker.poll``; return early when the attempt has ended."""
        if self._is_connecting:
            if self._wakeup not in wait_readable((self._wakeup, *also), longest_s):
                return []
            self._wakeup.clear()
            self._is_connecting = False
            longest_s = 0.0
        return self._broker.poll(longest_s, also)

    def descriptors(self) -> Sequence[Waitable]:
        """As ``SelectableBroker.descriptors``."""
        return (self._wakeup,) if self._is_connecting else self._broker.descriptors()

    def is_ready(self) -> bool:
        """As ``SelectableBroker.is_ready``."""
        return not self._is_connecting and self._broker.is_ready()

    def close(self) -> None:
        """Disconnect, so that no last will is published; an attempt that runs closes at its end."""
        with self._lock:
            self._is_closed = True
            is_running = self._is_running
        if not is_running:
            self._broker.close()

    def _attempt(self) -> None:
        try:
            self._broker.connect()
        finally:
            with self._lock:
                self._is_running = False
                if self._is_closed:
                    self._broker.close()
                self._wakeup.set()
