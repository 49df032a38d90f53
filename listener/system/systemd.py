"""Service protocol of systemd: readiness, watchdog, stop signals and credentials.

Notifications follow ``sd_notify(3)``: one datagram to the socket in ``$NOTIFY_SOCKET``. Without
systemd nothing is sent, so the commands need not know where they run. Credentials
(``systemd.exec(5)``) are copies of files that root alone can read; they replace the files that the
configuration names.
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
_FILE: Final = "_file"  # suffix of configuration keys that name a file

AnySettings = TypeVar("AnySettings", bound=msgspec.Struct)


def unit_name(process: str) -> str:
    """Return the unit of a process of Earmark, such as ``send``, ``archive`` or ``archive-2``."""
    name, _, instance = process.partition("-")
    return f"earmark-{name}@{instance}" if instance else f"earmark-{name}"


class Notifier:
    """Sender of notifications to systemd.

    Nothing here blocks or raises: a supervisor that does not read must not stop the service.
    Safe for use by several threads.
    """

    def __init__(
        self, environ: Mapping[str, str], monotonic_s: Callable[[], float], pid: int | None = None
    ) -> None:
        """Read socket and watchdog interval from the environment.

        Args:
            environ: the process's environment; only read.
            monotonic_s: monotonic clock, in seconds.
            pid: id of this process; by default the system's answer.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._monotonic_s = monotonic_s
        self._pause_s = _watchdog_interval_s(environ, os.getpid() if pid is None else pid)
        self._pinged_s = float("-inf")

    def ready(self, status: str = "") -> None:
        """Report that start-up is complete.

        Args:
            status: one line for ``systemctl status``; never a person's name and never a transcript.
        """
        self._notify("READY=1", status)

    def status(self, status: str) -> None:
        """Report the current state in one line."""
        self._notify("", status)

    def ping_watchdog(self) -> None:
        """Report that the calling loop runs; may be called at any rate.

        At most one datagram is sent in each half of the watchdog interval.
        """
        if self._pause_s is None:
            return
        now_s = self._monotonic_s()
        if now_s - self._pinged_s >= self._pause_s:
            self._pinged_s = now_s
            self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the service is stopping."""
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
    """Stop request, from a signal or a caller. Safe for use by several threads."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        """True from the first request on."""
        return self._event.is_set()

    def request(self) -> None:
        """Request the stop; repeated requests change nothing."""
        self._event.set()

    def wait(self, longest_s: float) -> bool:
        """Sleep until the stop is requested, at most ``longest_s``.

        Args:
            longest_s: seconds; below 0 counts as 0.

        Returns:
            True if the stop was requested.
        """
        return self._event.wait(max(0.0, longest_s))

    @contextlib.contextmanager
    def on_signals(self) -> Iterator["StopSignal"]:
        """Let SIGTERM and SIGINT request the stop during the block; for the main thread only.

        The second signal of a kind has its previous effect: a second Ctrl-C interrupts at once.
        """
        before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

        def request_stop(number: int, _frame: object) -> None:
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)
            self.request()

        for number in _STOP_SIGNALS:
            signal.signal(number, request_stop)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)


def with_credentials(settings: AnySettings, environ: Mapping[str, str]) -> AnySettings:
    """Return settings whose files are replaced by the service's credentials, where these exist.

    ``LoadCredential=tls:/etc/earmark/tls`` provides ``/etc/earmark/tls/me.key`` as ``tls_me.key``,
    which replaces a ``key_file`` with that path.

    Args:
        settings: a section; only its fields ending in ``_file`` are replaced.
        environ: the process's environment; only read.
    """
    changes = {
        name: credential_path(named, environ)
        for name in settings.__struct_fields__
        if name.endswith(_FILE) and (named := getattr(settings, name)) is not None
    }
    return msgspec.structs.replace(settings, **changes)


def credential_path(named: str, environ: Mapping[str, str]) -> str:
    """Return the path of the credential that replaces a file, or its own without one.

    Args:
        named: path in the configuration.
        environ: the process's environment; only read.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(named)
    credential = Path(folder or "") / f"{path.parent.name}_{path.name}"
    return str(credential) if folder and credential.exists() else named


def _watchdog_interval_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds between two watchdog pings, or None without a watchdog."""
    try:
        limit_s = int(environ["WATCHDOG_USEC"]) / 1e6
        watched_pid = int(environ.get("WATCHDOG_PID", pid))
    except (KeyError, ValueError):
        return None
    return limit_s / 2 if limit_s > 0 and watched_pid == pid else None
