"""Fixtures: an owner at a real browser, before the real page server and the real archive."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.audio.clip import encode_clip
from listener.browser_page.page_files import built_folder
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.seal import seal
from listener.storage import sqlite
from tests.page.browser import NOT_BUILT, Browser
from tests.page.relay import RecordingRelay, TamperingRelay
from tests.ports import find_free_port
from tests.system.conftest import (
    Earmark,
    earmark,
    free_port,
    wait_until,
)

if TYPE_CHECKING:
    from tests.conftest import Household

__all__ = ["earmark", "free_port"]

PROGRAM = os.environ.get("EARMARK_BROWSER", "chromium")
"""Browser of the tests; `make firefox` names the other one."""
PATIENCE_S = 180.0
"""For an archive that looks through ten thousand files at its start."""
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
ALEXA = "6ff566a01d12670e8d9e3c59da32651db1575d17272a601b7f8a39283dfbae3e"
"""SHA-256 of the model, whose threshold the page knows."""


@dataclass(frozen=True, slots=True)
class MadeClip:
    """A clip as it lies in the archive."""

    header: form.PublicHeader
    data: bytes
    flac: bytes
    """What is sealed: no request may have any of it."""

    @property
    def clip(self) -> str:
        return self.header.clip


class Clips:
    """Seals real recordings and puts them into the archive, which does not run yet."""

    def __init__(self, household: "Household") -> None:
        self._household = household
        self._store = self._open()
        self._seq = 0
        self.made: list[MadeClip] = []

    def _open(self) -> FileStore:
        """Open the store as the archive does: its rows have the archive's MAC."""
        home = self._household.home
        return FileStore(home.path / "archive", row_mac=RowMac.for_key(home.archive_key()))

    def close(self) -> None:
        self._store.close()

    def seal(
        self,
        owner: str = "ada",
        *,
        sound: str = "near.flac",
        key: Ed25519PrivateKey | None = None,
        word: str = "alexa",
        score: float = 0.9312,
        ago: timedelta = timedelta(minutes=5),
        inner: Callable[[bytes], bytes] = bytes,
        **fields: object,
    ) -> MadeClip:
        """Seal a clip; ``inner`` changes its comment after it was made."""
        samples, rate = soundfile.read(FIXTURES / sound, dtype="int16", stop=24_000)
        self._seq += 1
        signer = key or self._household.device_key
        t = form.format_timestamp(datetime.now(UTC) - ago)
        given: dict[str, Any] = {"t": t, "clip": str(uuid.uuid4())} | fields
        header = self._household.header(self._seq, owner, **given)
        if key is not None:
            header = form.PublicHeader(
                **{name: getattr(header, name) for name in header.__struct_fields__}
                | {"dkey": keys.device_id(key.public_key())}
            )
        private = form.PrivateFields(
            word=word,
            model=ALEXA,
            score=score,
            spk=0.61,
            pre_ms=500,
            ms=len(samples) * 1000 // rate,
            rate=rate,
            end_reason="silence",
            boot="0" * 16,
        )
        flacs: list[bytes] = []

        def encode(comment: str) -> bytes:
            flacs.append(encode_clip(samples, inner(comment.encode()).decode()))
            return flacs[0]

        data = seal(header, private, encode, self._household.recipient(owner), signer)
        return MadeClip(header, data, flacs[0])

    def put(self, owner: str = "ada", **options: Any) -> MadeClip:  # noqa: ANN401 - as for seal
        made = self.seal(owner, **options)
        assert self._store.keep(form.parse_envelope(made.data), made.data, int(time.time()))
        self.made.append(made)
        return made

    def put_many(self, count: int) -> None:
        """Store many clips of noise, which cannot be told from sealed ones without the key."""
        noise = os.urandom(400)
        # Ten thousand times to the disk takes minutes, and no power cut is tested here.
        with mock.patch("os.fsync"):
            self._store.close()
            with mock.patch.object(sqlite, "_PRAGMAS", "pragma synchronous = off;"):
                self._store = self._open()
            self._put_noise(count, noise)

    def _put_noise(self, count: int, noise: bytes) -> None:
        for _ in range(count):
            self._seq += 1
            t = datetime.now(UTC) - timedelta(minutes=7 * self._seq)
            header = self._household.header(
                self._seq, t=form.format_timestamp(t), ttl_s=315_360_000
            )
            data = self._household.seal(header, lambda comment: noise + comment.encode())
            assert self._store.keep(form.parse_envelope(data), data, int(time.time()))


@pytest.fixture
def clips(household: "Household") -> Iterator[Clips]:
    made = Clips(household)
    yield made
    made.close()


@dataclass
class Scene:
    """An owner at a browser: what they have, and every way that leads to the archive."""

    household: "Household"
    folder: Path
    earmark: Earmark
    relay: RecordingRelay
    archive: TamperingRelay
    browser: Browser
    address: str
    card: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def secret(self) -> str:
        return self.household.identities["ada"]

    @property
    def sent(self) -> bytes:
        """Everything that left the browser, and everything that reached the archive."""
        return bytes(self.relay.sent) + b"\0".join(self.archive.sent)

    def next_address(self) -> str:
        """Return the next address of the page's server, through the relay."""
        output = self.processes[0].stdout
        assert output is not None
        line = output.readline()
        assert line, "the page's server ended"
        fragment = urlsplit(json.loads(line)["address"]).fragment
        return f"{self.address}/#{fragment}"

    def downloaded(self, name: str) -> Path:
        """Return a file that the page saved, once the browser has written all of it."""
        path = self.browser.downloads / name

        def is_whole() -> bool:
            # Firefox makes an empty file first, and writes beside it.
            partial = [*path.parent.glob("*.part"), *path.parent.glob("*.crdownload")]
            return path.exists() and path.stat().st_size > 0 and not partial

        wait_until(is_whole, f"{name} is saved")
        return path

    def enter(self) -> Browser:
        """Open the page and give it the key card; wait for the list."""
        self.browser.open(self.next_address())
        self.browser.upload("[data-field=file]", self.card)
        self.browser.wait_for(".list")
        self.browser.wait("document.querySelector('[data-count]').textContent !== ''")
        return self.browser


def write_card(household: "Household", path: Path, owner: str = "ada") -> Path:
    """Write a key card with the speaker's key and the archive's."""
    archive = keys.device_text(household.home.archive_key().public_key())
    hall = keys.device_text(household.device_key.public_key())
    path.write_text(
        f"# Earmark key card 1\n# owner {owner}\n# archive {archive}\n# speaker hall {hall}\n"
        f"# public key: {household.recipient(owner)}\n{household.identities[owner]}\n"
    )
    return path


def require_page() -> None:
    assert (built_folder() / "index.html").is_file(), NOT_BUILT


@pytest.fixture
def scene_of(
    household: "Household", home: Path, earmark: Earmark, tmp_path: Path
) -> Iterator[Callable[..., Scene]]:
    """Start everything; the archive has the clips that the test stored before."""
    ends = contextlib.ExitStack()

    def make(program: str = PROGRAM, *arguments: str) -> Scene:
        require_page()
        address = start_archive(earmark, home, tmp_path)
        archive = TamperingRelay(tmp_path / "relay.sock", address, home / "household" / "ca.crt")
        ends.enter_context(archive)
        target, port = find_free_port(), find_free_port()
        browse = subprocess.Popen(
            (
                *(sys.executable, "-m", "listener", "clips", "browse", "--no-open", "--json"),
                *("--owner", "ada", "--archive", str(archive.path), "--port", str(target)),
                *("--home", str(tmp_path / "owners-home")),
            ),
            stdout=subprocess.PIPE,
            text=True,
        )
        ends.callback(end_process, browse)
        relay = ends.enter_context(RecordingRelay(port, target))
        browser = ends.enter_context(Browser(tmp_path / "browser", program, *arguments))
        card = write_card(household, tmp_path / "ada.key")
        base = f"http://localhost:{port}"
        return Scene(household, tmp_path, earmark, relay, archive, browser, base, card, [browse])

    with ends:
        yield make


def end_process(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(60)
    if process.stdout is not None:
        process.stdout.close()


def start_archive(earmark: Earmark, home: Path, folder: Path, *lines: str) -> str:
    """Start the real archive over TLS with a new household's certificate; return its address."""
    port = find_free_port()
    made = earmark.run("household", "init", "--host", "localhost")
    assert made.returncode == 0, made.stderr
    issued = home / "household" / "issued"
    with (folder / "earmark.toml").open("a") as file:
        file.write(
            f'archive.port = {port}\narchive.certificate_file = "{issued}/s-api.crt"\n'
            f'archive.key_file = "{issued}/s-api.key"\n' + "".join(f"{line}\n" for line in lines)
        )
    earmark.start("archive")
    # Its local socket has its name before the port listens.
    wait_until(lambda: is_open(port), "the archive is up", PATIENCE_S)
    return f"https://localhost:{port}"


def is_open(port: int) -> bool:
    """Whether a server listens at a port of this computer."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
