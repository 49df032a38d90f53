"""What systemd asks of a service: say ready, prove to be alive, stop when told.

The protocol is ``sd_notify(3)``: one datagram to the socket in ``$NOTIFY_SOCKET``. Without systemd
all of it is silence, so the verbs need not ask where they run. What systemd hands over, files that
root alone can read, is used in place of the files that the settings name.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_FILE: Final = "_file"  # how settings end that name a file

AnySettings = TypeVar("AnySettings", bound=msgspec.Struct)


class Notifier:
    """Tell systemd how this process is.

    Nothing here blocks or raises: a supervisor that does not listen must not stop the ear.
    Safe for use by several threads.
    """

    def __init__(
        self, environ: Mapping[str, str], monotonic_s: Callable[[], float], pid: int | None = None
    ) -> None:
        """Read what systemd asks for.

        Args:
            environ: the process's environment; only read.
            monotonic_s: a clock in seconds that never goes back.
            pid: of this process; asked from the system by default.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._monotonic_s = monotonic_s
        self._pause_s = _watchdog_interval_s(environ, os.getpid() if pid is None else pid)
        self._pinged_s = float("-inf")

    def ready(self, status: str = "") -> None:
        """Say that start-up is over.

        Args:
            status: one line for ``systemctl status``; never a name and never what was said.
        """
        self._notify("READY=1", status)

    def status(self, status: str) -> None:
        """Say in one line what goes on."""
        self._notify("", status)

    def ping_watchdog(self) -> None:
        """Prove that the calling loop turns; call it as often as you like.

        Half the time that systemd grants passes before the next datagram.
        """
        if self._pause_s is None:
            return
        now_s = self._monotonic_s()
        if now_s - self._pinged_s >= self._pause_s:
            self._pinged_s = now_s
            self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._notify("STOPPING=1")

    def _notify(self, state: str, status: str = "") -> None:
        if not self._address:
            return
        lines = [state] if state else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
        ):
            out.settimeout(0)
            out.sendto("\n".join(lines).encode(), self._address)


class StopSignal:
    """A request to end, made by a signal or by a caller; everything that waits, waits on it.

    Safe for use by several threads.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()

    @property
    def requested(self) -> bool:
        """True once somebody asked; it never turns back."""
        return self._asked.is_set()

    def request(self) -> None:
        """Ask for the end; asking twice changes nothing."""
        self._asked.set()

    def wait(self, longest_s: float) -> bool:
        """Sleep, but not beyond the request to end.

        Args:
            longest_s: seconds; nothing is waited for below 0.

        Returns:
            Whether the end was asked for.
        """
        return self._asked.wait(max(0.0, longest_s))

    @contextlib.contextmanager
    def on_signals(self) -> Iterator["StopSignal"]:
        """Let SIGTERM and SIGINT ask, until the block ends; for the main thread only.

        The second signal of a kind does what it did before: whoever presses Ctrl-C twice means it.
        """
        before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

        def ask(number: int, _frame: object) -> None:
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)
            self.request()

        for number in _STOP_SIGNALS:
            signal.signal(number, ask)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)


def with_credentials(settings: AnySettings, environ: Mapping[str, str]) -> AnySettings:
    """Return settings whose files are the service's credentials, where it was given any.

    ``LoadCredential=tls:/etc/earmark/tls`` hands over ``/etc/earmark/tls/me.key`` as
    ``tls_me.key``: that is what is looked for in place of a setting ``key_file`` with that path.

    Args:
        settings: a section; those of its fields count that end in ``_file``.
        environ: the process's environment; only read.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    changes = {}
    for name in settings.__struct_fields__ if folder else ():
        named = getattr(settings, name)
        if name.endswith(_FILE) and named is not None:
            path = Path(named)
            given = Path(folder or "") / f"{path.parent.name}_{path.name}"
            if given.exists():
                changes[name] = str(given)
    return msgspec.structs.replace(settings, **changes)


def _watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds between two proofs of life, or None where nobody asks for any."""
    try:
        limit_s = int(environ["WATCHDOG_USEC"]) / 1e6
        meant_for = int(environ.get("WATCHDOG_PID", pid))
    except (KeyError, ValueError):
        return None
    return limit_s / 2 if limit_s > 0 and meant_for == pid else None
