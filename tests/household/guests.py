"""A household with a running join server, and clients that join it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from listener.cli import main
from listener.envelope import keys
from listener.household import identity, invitation
from listener.household.identity import HouseholdIdentity
from listener.household.invitation import Invitation
from listener.household.join_server import JoinServer
from listener.household.state import HouseholdStore
from listener.storage.home import Home
from listener.system.systemd import StopSignal

Earmark = Callable[..., tuple[int, str, str]]


class Host:
    """A household whose join server listens while the test runs."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        self.store = HouseholdStore(home)
        self.store.set_up(lambda before: msgspec.structs.replace(before, hosts=("home.lan",)))
        self.server = JoinServer(self.store, self.home, ("127.0.0.1", 0))
        self.stop = StopSignal()
        self._threads = ThreadPoolExecutor(1)

    def invite(self, who: HouseholdIdentity, token: str = "t" * 22) -> Invitation:
        now_s = int(self.store.now().timestamp())
        self.store.update(lambda before: before.with_invitation(who, token, now_s))
        certificate, _ = self.store.service(identity.API)
        return Invitation(
            cn=who.cn,
            host="127.0.0.1",
            port=self.server.port,
            fingerprint=invitation.fingerprint_of_pem(certificate.read_bytes()),
            token=token,
            archive=keys.device_text(self.home.archive_key().public_key()),
        )

    def wait(self, who: HouseholdIdentity) -> "Future[bool]":
        return self._threads.submit(self.server.wait, who, self.stop, 30.0, time.monotonic)

    def end(self) -> None:
        self.stop.request()
        self._threads.shutdown()
        self.server.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def meet(
    earmark: Earmark, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[tuple[int, int], str, str]:
    """Run `household wait` and a joining command; return both exit codes, outputs and messages."""
    codes: list[int] = []

    def join() -> None:
        until_s = time.monotonic() + 30
        while not codes or (codes[-1] == 69 and time.monotonic() < until_s):
            codes.append(main.main(["household", *words]))
            time.sleep(0.05)

    guest = threading.Thread(target=join)
    guest.start()
    # The server runs in the main thread, which alone can handle signals.
    code, out, err = earmark("household", "wait")
    guest.join()
    late = capsys.readouterr()
    return (code, codes[-1]), out + late.out, err + late.err
