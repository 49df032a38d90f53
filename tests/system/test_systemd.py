import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.config import BrokerSettings
from listener.system.systemd import Notifier, StopSignal, with_credentials


class Supervisor:
    """systemd's end of the notify socket."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(0)

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        told = []
        while True:
            try:
                told.append(self._socket.recv(4_096).decode())
            except BlockingIOError:
                return told


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.close()


def test_ready_status_and_stopping_are_sent_in_order(supervisor: Supervisor) -> None:
    service = Notifier({"NOTIFY_SOCKET": supervisor.path}, lambda: 0.0)

    service.ready("listening\nfor alexa")
    service.status("muted")
    service.stopping()

    assert supervisor.heard() == [
        "READY=1\nSTATUS=listening for alexa",
        "STATUS=muted",
        "STOPPING=1",
    ]


def test_watchdog_is_pinged_at_half_its_interval(supervisor: Supervisor) -> None:
    now = [0.0]
    service = Notifier(
        {"NOTIFY_SOCKET": supervisor.path, "WATCHDOG_USEC": "10000000"}, lambda: now[0]
    )

    for now[0] in (0.0, 4.9, 5.0, 9.9, 10.0):
        service.ping_watchdog()

    assert supervisor.heard() == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
    ],
)
def test_watchdog_is_not_pinged_unless_requested(
    supervisor: Supervisor, asked: dict[str, str]
) -> None:
    service = Notifier({"NOTIFY_SOCKET": supervisor.path, **asked}, lambda: 0.0, pid=4_711)

    service.ping_watchdog()

    assert supervisor.heard() == []


def test_missing_supervisor_raises_nothing(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, lambda: 0.0).ready()
    Notifier({"NOTIFY_SOCKET": "@earmark-nobody"}, lambda: 0.0).ready()
    Notifier({}, lambda: 0.0).ready()


def test_signal_requests_stop_and_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = StopSignal()

    with stop.on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        ended = stop.wait(5.0)

    assert ended
    assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_wait_ends_at_once_when_stop_is_requested() -> None:
    stop = StopSignal()
    asker = threading.Thread(target=stop.request)

    asker.start()

    assert stop.wait(60.0)
    asker.join()


def test_negative_wait_returns_at_once() -> None:
    assert not StopSignal().wait(-1.0)


def test_credentials_replace_configured_files(tmp_path: Path) -> None:
    settings = BrokerSettings(ca_file="/etc/earmark/tls/ca.crt", key_file="/etc/earmark/tls/me.key")
    (tmp_path / "tls_me.key").touch()
    (tmp_path / "me.key").touch()

    found = with_credentials(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert found.key_file == str(tmp_path / "tls_me.key")
    assert found.ca_file == settings.ca_file
    assert found.certificate_file is None


def test_settings_are_unchanged_without_credentials(tmp_path: Path) -> None:
    settings = BrokerSettings(key_file=str(tmp_path / "me.key"))

    assert with_credentials(settings, {}) == settings
