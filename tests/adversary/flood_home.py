"""A household with TLS for the floods: broker, archive, an honest speaker and a stolen one."""

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyrage

from benchmarks.processes import earmark
from benchmarks.soak.cast import Actor, until
from listener.config import SpoolSettings
from listener.envelope import keys
from listener.errors import Unavailable
from listener.household import identity
from listener.household.state import HouseholdStore
from listener.owner.roster import Roster
from listener.spool.queue import Spool
from listener.storage.home import Home
from tests.adversary.machines import find_mosquitto
from tests.adversary.request_load import OwnerClient
from tests.conftest import Household, introduced
from tests.ports import find_free_port

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OWNERS: Final = ("ada", "bob")
HONEST: Final = "hall"
STOLEN: Final = "kitchen"
DESCRIPTORS: Final = 1024
OPERATOR: Final = "operator"
"""Identity with every right at the broker; stands for the broker's operator."""


Sealed = tuple[str, int, bytes]
"""Id of a clip, its sequence number and its envelope."""


class FloodSpeaker:
    """A speaker of the household: key, certificate, spool and send."""

    def __init__(self, folder: Path, name: str, household: HouseholdStore, port: int) -> None:
        self.name = name
        self.home = Home(folder / name)
        self.key: Ed25519PrivateKey = self.home.device_key()
        self.tls = folder / f"{name}-tls"
        household.issue(identity.device(name), self.tls)
        config = folder / f"{name}.toml"
        config.write_text(
            f'home = "{self.home.path}"\ndevice.name = "{name}"\nspool.retry_s = 1.0\n'
            f'broker.host = "127.0.0.1"\nbroker.port = {port}\n'
            f'broker.ca_file = "{self.tls}/ca.crt"\n'
            f'broker.certificate_file = "{self.tls}/d-{name}.crt"\n'
            f'broker.key_file = "{self.tls}/d-{name}.key"\n',
            "utf-8",
        )
        self.spool = Spool(self.home.path / "spool", SpoolSettings())
        self.send = Actor(
            earmark("send", "--config", str(config)), folder / f"{name}.out", dict(os.environ)
        )
        self._seq = 0

    def seal(self, identities: dict[str, str], owner: str, size_bytes: int = 6_000) -> Sealed:
        """Seal a clip of random bytes; return its id, number and envelope."""
        self._seq += 1
        sealing = Household(self.home, self.key, identities)
        header = sealing.header(self._seq, owner, device=self.name, ttl_s=30 * 86_400)
        noise = b"fLaC" + random.randbytes(size_bytes)
        return (
            header.clip,
            self._seq,
            sealing.seal(header, lambda comment: noise + comment.encode()),
        )

    def put(self, identities: dict[str, str], owner: str) -> str:
        """Put a sealed clip into the spool; return its id."""
        clip, seq, data = self.seal(identities, owner)
        self.spool.put(clip, owner, seq, data)
        return clip


class FloodHome:
    """The household and its processes; ``flood_home`` makes one and ends it.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identities = {name: str(pyrage.x25519.Identity.generate()) for name in OWNERS}
        self.port, self.api_port, self.join_port = (find_free_port() for _ in range(3))
        self.home = Home(folder / "archive")
        self.config = folder / "archive.toml"
        self.config.write_text(self._init(), "utf-8")
        household = HouseholdStore(self.home.path)
        self.speakers = {
            name: FloodSpeaker(folder, name, household, self.port) for name in (HONEST, STOLEN)
        }
        self.operator_tls = folder / "operator-tls"
        household.issue(identity.device(OPERATOR), self.operator_tls)
        self._introduce()
        self.ca = self.home.path / "household" / "ca.crt"
        self.broker = Actor(
            (find_mosquitto(), "-c", str(self._broker_file())),
            folder / "broker.out",
            dict(os.environ),
        )
        self.archive = Actor(
            earmark("archive", "--config", str(self.config), "--home", str(self.home.path)),
            folder / "archive.out",
            dict(os.environ),
        )

    @property
    def honest(self) -> FloodSpeaker:
        """The speaker whose clips must arrive."""
        return self.speakers[HONEST]

    @property
    def stolen(self) -> FloodSpeaker:
        """The speaker whose key and certificate an attacker has."""
        return self.speakers[STOLEN]

    @property
    def address(self) -> str:
        """Address of the archive."""
        return f"https://127.0.0.1:{self.api_port}"

    def client(self, owner: str, patience_s: float = 20.0) -> OwnerClient:
        """Return an owner's client over HTTPS."""
        return OwnerClient.over_https(
            self.address, self.ca, owner, self.identities[owner], patience_s
        )

    def stored(self) -> set[str]:
        """Return the ids of all envelopes in the archive's folder."""
        return {path.stem for path in (self.home.path / "archive" / "clips").rglob("*.earmark")}

    def archive_logs(self) -> list[Path]:
        """Return the files that grow with the archive's messages and access log."""
        return [self.folder / "archive.err", *self.home.path.glob("access.sqlite*")]

    def start(self) -> None:
        """Start broker, archive and the honest speaker's send.

        Raises:
            Unavailable: one of them does not answer.
        """
        self.broker.start()
        self.archive.start()
        # The soft limit of a service of systemd.
        _, most = resource.prlimit(self.archive.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.archive.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
        self.honest.send.start()
        until((self.home.path / "archive.sock").exists, "the archive's socket is there")

    def end(self) -> None:
        """End all processes."""
        for speaker in self.speakers.values():
            speaker.send.end(signal.SIGTERM)
        self.archive.end(signal.SIGTERM)
        self.broker.end()

    def _init(self) -> str:
        """Create the authority; return the archive's configuration."""
        words = ("--host", "127.0.0.1", "--port", str(self.port), "--join-port")
        command = earmark("household", "init", "--home", str(self.home.path), *words)
        done = subprocess.run(
            [*command, str(self.join_port)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"household init failed: {done.stderr}")
        made = done.stdout
        issued = self.home.path / "household" / "issued"
        lines = made[made.index("[broker]") :].splitlines()
        own = lines.index("[archive]") if "[archive]" in lines else len(lines)
        broker = [line for line in lines[1:own] if "=" in line]
        return (
            "[broker]\n"
            + "".join(f"{line}\n" for line in broker)
            + f'[archive]\nhost = "127.0.0.1"\nport = {self.api_port}\n'
            f'certificate_file = "{issued}/s-api.crt"\nkey_file = "{issued}/s-api.key"\n'
        )

    def _broker_file(self) -> Path:
        """Write a configuration that includes the household's; return its path."""
        folder = self.home.path / "household" / "mosquitto"
        rights = folder / "acl"
        rights.write_text(f"{rights.read_text('utf-8')}\nuser d-{OPERATOR}\ntopic readwrite #\n")
        path = self.folder / "mosquitto.conf"
        path.write_text(f"user root\npersistence false\ninclude_dir {folder}\n", "utf-8")
        return path

    def _introduce(self) -> None:
        for speaker in self.speakers.values():
            key = keys.device_text(speaker.key.public_key())
            self.home.change_roster(partial(Roster.with_device, name=speaker.name, key=key))
        for name in OWNERS:
            recipient = str(pyrage.x25519.Identity.from_str(self.identities[name]).to_public())
            self.home.change_roster(
                partial(introduced, name=name, recipient=recipient, now_s=int(time.time()))
            )


@contextmanager
def flood_home(folder: Path) -> Iterator[FloodHome]:
    """Run a household during the block."""
    made = FloodHome(folder)
    try:
        made.start()
        yield made
    finally:
        made.end()
