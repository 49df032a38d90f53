"""Command lines in the documents that talk to an archive, against one that lies and against a real
one. The lines are run as they stand in the document."""

import base64
import contextlib
import html
import json
import os
import random
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyrage
import pytest

from listener.archive.store import FileStore
from listener.audio.clip import encode_clip
from listener.cli import main
from listener.clips import exports
from listener.envelope.format import parse_envelope
from listener.household import ca
from listener.household.identity import parse as parse_identity
from listener.rights import requests
from listener.rights.export_page import EXPORT_PAGE
from tests.cli.test_examples import PARSERS
from tests.ports import find_free_port
from tests.system.conftest import earmark, free_port, wait_until
from tests.test_docs import DOCUMENTS, ROOT

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark

__all__ = ["earmark", "free_port"]  # fixtures

pytestmark = pytest.mark.system

HTTP_API: Final = (ROOT / "docs" / "reference" / "http-api.md").read_text("utf-8")
YOUR_CLIPS: Final = (ROOT / "docs" / "guides" / "your-clips.md").read_text("utf-8")
BLOCKS: Final = re.findall(r"^```sh\n(.*?)^```$", HTTP_API, re.MULTILINE | re.DOTALL)
SOCKET_BLOCK, TLS_BLOCK, EXPORT_BLOCK, CHECK_BLOCK, OPEN_BLOCK = BLOCKS
ANSWERS: Final = "\nscp ada.answers ada@kitchen.local:"
"""Of the guide of the first day: tests/household/test_owner_round.py is the hub that lies."""
SHOW_KEY: Final = (
    "curl -sS --unix-socket ~/.local/share/earmark/archive.sock"
    " http://archive/v1/archive | jq .archive"
)
"""Compares a public key by eye; sends nothing, and jq escapes what a terminal would obey."""
CLIP: Final = "00000000-0000-4000-8000-000000000001"
GOOD_TICKET: Final = "t" * 22
NONCE: Final = "a" * 26
DIGEST: Final = requests.digest(requests.ExportRequest())[:16]
HUGE_BYTES: Final = 32 << 20
SIZE_LIMIT_BYTES: Final = 1 << 20
SECONDS: Final = 120.0


def armor(ciphertext: bytes) -> str:
    text = base64.b64encode(ciphertext).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN AGE ENCRYPTED FILE-----\n{lines}\n-----END AGE ENCRYPTED FILE-----\n"


def response(body: bytes, status: str = "201 Created", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "connection: close", "content-type: application/json", *more]
    if not any(line.startswith("transfer-encoding") for line in more):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class LyingArchive:
    """A server in place of the archive, which records all that it receives."""

    listener: socket.socket
    context: ssl.SSLContext | None = None
    ticket: bytes = b""
    """Bytes in answer to a request for a ticket."""
    result: bytes = field(default_factory=lambda: response(b"PK", "200 OK"))
    received: list[bytes] = field(default_factory=list)

    def start(self) -> None:
        self.listener.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    @property
    def all_received(self) -> bytes:
        return b"".join(self.received)

    @property
    def answers(self) -> list[bytes]:
        """Requests after those for a ticket."""
        return [request for request in self.received if b"POST /v1/tickets/" in request]

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            peer = (
                plain if self.context is None else self.context.wrap_socket(plain, server_side=True)
            )
            with peer:
                request = self._receive(peer)
                self.received.append(request)
                is_answer = b"POST /v1/tickets/" in request.partition(b"\r\n")[0]
                peer.sendall(self.result if is_answer else self.ticket)

    @staticmethod
    def _receive(peer: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = peer.recv(1 << 16)
            if not piece:
                return request
            request += piece
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        while length is not None and len(body) < int(length[1]):
            piece = peer.recv(1 << 16)
            if not piece:
                break
            body += piece
        return head + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Owner:
    """An owner at a computer, with a clip that the archive has and cannot decrypt."""

    folder: Path
    recipient: str
    clip: bytes
    """The clip's FLAC."""
    ciphertext: bytes
    elsewhere: LyingArchive
    """A server to which nothing in the documents sends anything."""

    def run(self, *blocks: str) -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"HOME": str(self.folder), "CURL_HOME": str(self.folder)}
        environment["PATH"] = f"{self.folder}:{environment['PATH']}"
        return subprocess.run(
            ["/bin/bash", "-c", "".join(blocks)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )

    def connect_to(self, port: int) -> None:
        """Let curl find the archive of the documents on this port."""
        (self.folder / ".curlrc").write_text(f'connect-to = "home.lan:8443:127.0.0.1:{port}"\n')

    def sealed(self, line: str) -> str:
        """Encrypt a challenge, which everyone can who knows the public key."""
        recipient = pyrage.x25519.Recipient.from_str(self.recipient)
        sealed: str = pyrage.encrypt(line.encode(), [recipient], armored=True).decode()
        return sealed

    def assert_nothing_leaked(self, *servers: LyingArchive) -> None:
        for server in (self.elsewhere, *servers):
            received = server.all_received
            assert b"fLaC" not in received
            assert b"COMMENT=" not in received
            assert b"AGE-SECRET-KEY" not in received
            assert not any(
                self.clip[at : at + 16] in received for at in range(0, len(self.clip), 16)
            )
        assert self.elsewhere.received == []


@pytest.fixture
def owner(household: "Household") -> Iterator[Owner]:
    # A short path: that of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="owner-") as name:
        yield from owner_at(Path(name), household)


def owner_at(folder: Path, household: "Household") -> Iterator[Owner]:
    (folder / ".local" / "share" / "earmark").mkdir(parents=True)
    (folder / "ada.key").write_text(household.identities["ada"] + "\n")
    shim = folder / "earmark"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m listener "$@"\n')
    shim.chmod(0o700)
    clips: list[bytes] = []

    def encode(comment: str) -> bytes:
        noise = np.random.default_rng(1).integers(-3000, 3000, 4000).astype(np.int16)
        clips.append(encode_clip(noise, comment))
        return clips[0]

    envelope = household.seal(household.header(1), encode)
    elsewhere = LyingArchive(socket.create_server(("127.0.0.1", 0)))
    elsewhere.start()
    yield Owner(
        folder, household.recipient("ada"), clips[0], envelope.split(b"\n", 4)[4], elsewhere
    )
    elsewhere.stop()


@pytest.fixture
def lying(owner: Owner) -> Iterator[LyingArchive]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(owner.folder / ".local" / "share" / "earmark" / "archive.sock"))
    server = LyingArchive(listener)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def lying_over_tls(owner: Owner) -> Iterator[LyingArchive]:
    """A server with a genuine certificate: an archive that was taken over."""
    authority = ca.new_authority(datetime.now(UTC))
    key = ca.new_key()
    certificate = ca.issue_certificate(
        authority, parse_identity("s-api"), key.public_key(), datetime.now(UTC), ["home.lan"]
    )
    for name, pem in (
        ("ca.crt", ca.certificate_pem(authority.certificate)),
        ("s-api.crt", ca.certificate_pem(certificate)),
        ("s-api.key", ca.key_pem(key)),
    ):
        (owner.folder / name).write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(owner.folder / "s-api.crt", owner.folder / "s-api.key")
    server = LyingArchive(socket.create_server(("127.0.0.1", 0)), context)
    owner.connect_to(server.listener.getsockname()[1])
    server.start()
    yield server
    server.stop()


Lie = Callable[[Owner], bytes]


def ticket(owner: Owner, challenge: str, name: str = GOOD_TICKET) -> bytes:
    del owner
    return response(json.dumps({"ticket": name, "challenge": challenge}).encode())


def right(owner: Owner) -> str:
    return owner.sealed(f"ada:export:{DIGEST}:{NONCE}\n")


def here(owner: Owner) -> str:
    return f"http://127.0.0.1:{owner.elsewhere.listener.getsockname()[1]}/"


REFUSED: Final[dict[str, Lie]] = {
    "a clip": lambda owner: ticket(owner, armor(owner.ciphertext)),
    "a clip without armor": lambda owner: response(owner.ciphertext),
    "another request": lambda owner: ticket(owner, owner.sealed(f"ada:erase:{DIGEST}:{NONCE}\n")),
    "another digest": lambda owner: ticket(owner, owner.sealed(f"ada:export:{'0' * 16}:{NONCE}\n")),
    "another owner": lambda owner: ticket(owner, owner.sealed(f"bob:export:{DIGEST}:{NONCE}\n")),
    "more in the line": lambda owner: ticket(
        owner, owner.sealed(f"ada:export:{DIGEST}:{NONCE} and more\n")
    ),
    "a pattern": lambda owner: response(
        json.dumps(
            {
                "ticket": GOOD_TICKET,
                "challenge": armor(owner.ciphertext),
                "request_sha256": ".*|" * 20,
                "owner": ".*",
                "op": ".*",
            }
        ).encode()
    ),
    "arguments for curl": lambda owner: ticket(
        owner, right(owner), f"x -F key=@ada.key {here(owner)}"
    ),
    "a configuration for curl": lambda owner: ticket(
        owner, right(owner), f"x -Kada.key {here(owner)}"
    ),
    "globs": lambda owner: ticket(owner, right(owner), "{a,b}[1-9]"),
    "a path": lambda owner: ticket(owner, right(owner), "../../ada.key"),
    "no ticket": lambda owner: response(json.dumps({"challenge": right(owner)}).encode()),
    "no object": lambda _: response(b"[1, 2]"),
    "not JSON": lambda owner: response(armor(owner.ciphertext).encode()),
    "not HTTP": lambda owner: b"\0\xff" + owner.ciphertext,
    "nothing": lambda _: b"",
    "redirect": lambda owner: response(b"", "307 Temporary Redirect", f"location: {here(owner)}"),
    "huge": lambda _: response(b"a" * HUGE_BYTES),
    "huge in chunks": lambda _: (
        response(
            b"10000\r\n" + b"a" * (1 << 16) + b"\r\n", "201 Created", "transfer-encoding: chunked"
        )
        + (b"10000\r\n" + b"a" * (1 << 16) + b"\r\n") * (HUGE_BYTES >> 16)
    ),
}


@pytest.mark.parametrize("lie", REFUSED)
def test_nothing_is_sent_in_answer_to_a_false_challenge(
    owner: Owner, lying: LyingArchive, lie: str
) -> None:
    lying.ticket = REFUSED[lie](owner)

    owner.run(SOCKET_BLOCK, EXPORT_BLOCK)

    owner.assert_nothing_leaked(lying)
    assert lying.answers == []
    assert not (owner.folder / "ada.zip").exists()
    sizes = [path.stat().st_size for path in owner.folder.iterdir() if path.is_file()]
    assert sum(sizes) < SIZE_LIMIT_BYTES


def test_lines_of_a_ticket_name_one_address_at_most(owner: Owner, lying: LyingArchive) -> None:
    lying.ticket = ticket(owner, right(owner), f"{GOOD_TICKET}\n-Fkey=@ada.key\n{here(owner)}\nx")

    owner.run(SOCKET_BLOCK, EXPORT_BLOCK)

    owner.assert_nothing_leaked(lying)
    assert [request.split()[1] for request in lying.answers] == [
        f"/v1/tickets/{GOOD_TICKET}".encode()
    ]


def test_answer_is_not_sent_on_by_a_redirect(owner: Owner, lying: LyingArchive) -> None:
    lying.ticket = ticket(owner, right(owner))
    lying.result = response(b"", "307 Temporary Redirect", f"location: {here(owner)}")

    owner.run(SOCKET_BLOCK, EXPORT_BLOCK)

    owner.assert_nothing_leaked(lying)
    assert lying.answers[0].endswith(f"\r\n\r\nada:export:{DIGEST}:{NONCE}\n".encode())


def test_false_challenges_succeed_without_the_filters(owner: Owner, lying: LyingArchive) -> None:
    """The lies are real ones: lines without the filters send the clip and the key."""
    bare = re.sub(r" \| grep -axE -m 1 (\"[^\"]*\"|'[^']*')", "", EXPORT_BLOCK)
    assert bare.count("grep") == 0
    lying.ticket = REFUSED["a clip"](owner)

    owner.run(SOCKET_BLOCK, bare)

    assert lying.answers[0].endswith(owner.clip[-64:])
    lying.ticket = REFUSED["arguments for curl"](owner)
    owner.run(SOCKET_BLOCK, bare.replace("--data-binary @answer.txt", ""))
    assert b"AGE-SECRET-KEY" in lying.all_received + owner.elsewhere.all_received


@pytest.mark.parametrize("lie", ["a clip", "arguments for curl", "huge"])
def test_nothing_is_sent_in_answer_to_a_false_challenge_over_tls(
    owner: Owner, lying_over_tls: LyingArchive, lie: str
) -> None:
    lying_over_tls.ticket = REFUSED[lie](owner)

    owner.run(TLS_BLOCK, EXPORT_BLOCK)

    owner.assert_nothing_leaked(lying_over_tls)
    assert lying_over_tls.received != []
    assert lying_over_tls.answers == []


def test_no_answer_goes_to_a_server_without_the_households_certificate(
    owner: Owner, lying_over_tls: LyingArchive
) -> None:
    other = ca.new_authority(datetime.now(UTC))
    (owner.folder / "ca.crt").write_bytes(ca.certificate_pem(other.certificate))
    lying_over_tls.ticket = ticket(owner, right(owner))

    done = owner.run(TLS_BLOCK, EXPORT_BLOCK)

    assert b"certificate" in done.stderr
    assert b"".join(lying_over_tls.received) == b""


@pytest.fixture
def honest(
    earmark: "Earmark", household: "Household", home: Path, owner: Owner, tmp_path: Path
) -> str:
    """A real archive with a clip of ada, behind both addresses of the document; the clip's id."""
    port = find_free_port()
    header = household.header(2)
    data = household.seal(header, lambda comment: encode_clip(np.zeros(4000, np.int16), comment))
    store = FileStore(home / "archive")
    assert store.keep(parse_envelope(data), data, int(datetime.now(UTC).timestamp()))
    store.close()
    made = earmark.run("household", "init", "--host", "home.lan")
    assert made.returncode == 0, made.stderr
    issued = home / "household" / "issued"
    with (tmp_path / "earmark.toml").open("a") as file:
        file.write(
            f'archive.port = {port}\narchive.certificate_file = "{issued}/s-api.crt"\n'
            f'archive.key_file = "{issued}/s-api.key"\n'
        )
    earmark.start("archive")
    wait_until((home / "archive.sock").exists, "the archive is up")
    shutil.copy(home / "household" / "ca.crt", owner.folder)
    owner.connect_to(port)
    (owner.folder / ".local" / "share" / "earmark" / "archive.sock").symlink_to(
        home / "archive.sock"
    )
    return header.clip


@pytest.mark.parametrize("address", [SOCKET_BLOCK, TLS_BLOCK], ids=["socket", "tls"])
def test_lines_export_from_a_real_archive(owner: Owner, honest: str, address: str) -> None:
    done = owner.run("set -eu\n", address, EXPORT_BLOCK, CHECK_BLOCK, OPEN_BLOCK)

    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(owner.folder / "ada.zip").namelist()
    assert f"clips/{honest}.earmark" in names
    unexpected, twice, page = done.stdout.decode().splitlines()
    assert (unexpected, twice) == ("0", "0")
    assert page.split()[0] in HTTP_API
    opened = (owner.folder / "ada" / "opened" / f"{honest}.flac").read_bytes()
    assert opened.startswith(b"fLaC")
    shown = owner.run(SHOW_KEY)
    assert re.fullmatch(r'"ed25519:[A-Za-z0-9+/]{43}="\n', shown.stdout.decode()), shown.stderr


def test_check_lines_accept_every_entry_of_an_export(
    household: "Household", home: Path, owner: Owner, honest: str
) -> None:
    """The speaker was removed, and a stored file is damaged."""
    household.home.change_roster(lambda roster: roster.without_device("hall", 1))

    def is_bounded() -> bool:
        (retired,) = household.home.roster().retired_devices
        return retired.last_seq is not None

    # Before that the archive repairs, and would move the damaged file to its quarantine.
    wait_until(is_bounded, "the archive has set the bound of the retired key")
    (home / "archive" / "clips" / "ada" / f"{CLIP}.earmark").write_bytes(b"damaged")

    done = owner.run("set -eu\n", SOCKET_BLOCK, EXPORT_BLOCK, CHECK_BLOCK)

    assert done.returncode == 0, done.stderr
    entries = set(zipfile.ZipFile(owner.folder / "ada.zip").namelist())
    assert entries == exports.REQUIRED | exports.OPTIONAL | {f"clips/{honest}.earmark"}
    assert done.stdout.decode().splitlines()[:2] == ["0", "0"]


@pytest.mark.parametrize(
    "name", ["left-out-jsonl", "retired-devices.jsonl", "left-out.json", "x/devices.json"]
)
def test_check_lines_count_an_entry_of_another_name(owner: Owner, name: str) -> None:
    with zipfile.ZipFile(owner.folder / "ada.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("READ-ME-FIRST.html"), EXPORT_PAGE)
        archive.writestr(zipfile.ZipInfo(name), b"")

    done = owner.run("set -eu\n", CHECK_BLOCK)

    assert done.stdout.decode().splitlines()[:2] == ["1", "0"]


def test_lines_erase_as_many_clips_as_one_request_can_name(owner: Owner, honest: str) -> None:
    """The longest ticket: it is part of an address, a pattern's line and a command line."""
    chance = random.Random(1)
    ids = [honest, *(str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(199))]
    request = json.dumps({"clips": ids, "op": "erase"}, separators=(",", ":"))
    lines = EXPORT_BLOCK.replace('{"op":"export"}', request).replace("ada:export", "ada:erase")

    done = owner.run("set -eu\n", SOCKET_BLOCK, lines)

    assert done.returncode == 0, done.stderr
    assert len((owner.folder / "name.txt").read_text()) > 5_000
    receipt = json.loads((owner.folder / "ada.zip").read_text())["receipt"]
    assert (receipt["count"], receipt["clips"]) == (1, [honest])


PAGE_BLOCK: Final = html.unescape(re.findall(r"<pre>(.*?)</pre>", EXPORT_PAGE, re.DOTALL)[0])


def link(archive: zipfile.ZipFile, name: str, target: Path) -> None:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, str(target))


@pytest.mark.parametrize("linked", ["clips/{}.flac", "opened/{}.flac", "opened"])
@pytest.mark.parametrize("block", [OPEN_BLOCK, f"unzip -q ada.zip && {PAGE_BLOCK}"])
def test_lines_that_open_clips_write_through_no_link(owner: Owner, block: str, linked: str) -> None:
    """A file of the owner's would get what the archive encrypted to them."""
    (owner.folder / "me.key").write_bytes((owner.folder / "ada.key").read_bytes())
    victims = owner.folder / "victims"
    victims.mkdir()
    (victims / f"{CLIP}.flac").write_text("precious")
    with zipfile.ZipFile(owner.folder / "ada.zip", "w") as archive:
        archive.writestr(f"clips/{CLIP}.earmark", b"1\n2\n3\n4\n" + owner.ciphertext)
        target = victims if linked == "opened" else victims / f"{CLIP}.flac"
        link(archive, linked.format(CLIP), target)

    owner.run(block)

    assert [path.name for path in victims.iterdir()] == [f"{CLIP}.flac"]
    assert (victims / f"{CLIP}.flac").read_text() == "precious"


def test_lines_of_the_page_open_a_clip(owner: Owner) -> None:
    (owner.folder / "me.key").write_bytes((owner.folder / "ada.key").read_bytes())
    (owner.folder / "clips").mkdir()
    (owner.folder / "clips" / f"{CLIP}.earmark").write_bytes(b"1\n2\n3\n4\n" + owner.ciphertext)

    done = owner.run("set -eu\n", PAGE_BLOCK)

    assert done.returncode == 0, done.stderr
    assert (owner.folder / "opened" / f"{CLIP}.flac").read_bytes() == owner.clip


def test_shown_key_contains_no_terminal_escapes(owner: Owner, lying: LyingArchive) -> None:
    lying.ticket = response(b'{"archive":"ed25519:\\u001b[2Jx"}')
    assert SHOW_KEY in YOUR_CLIPS

    shown = owner.run(SHOW_KEY)

    assert b"\x1b" not in shown.stdout


ANSWERS_BY_SSH = re.compile(
    r"^docs/guides/[-a-z]+\.md:\d+: scp (?:-r dist|[a-z]+\.answers) [a-z]+@[a-z]+\.[a-z]+:$"
)
"""Files without a secret, sent to the household's own computer, whose key ssh verifies."""
STATUS_OF_THE_PAGE = re.compile(
    r"^docs/guides/new-phone\.md:\d+: curl -sS -o /dev/null -w \"%\{http_code\}\\n\" --cacert [^ ]+ https://home\.lan:8443/$"
)
"""It sends nothing of the owner, and shows three digits of what the server sent."""


def test_lines_of_other_documents_reach_no_server() -> None:
    """A further line with a client belongs here, with a test against a server that lies."""
    found = []
    for path in [
        *DOCUMENTS,
        *(ROOT / "listener").rglob("*.py"),
        *(ROOT / "firmware").rglob("*.sh"),
    ]:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if (
                re.search(
                    r"(?<![-\w`])`?(curl|wget|nc|socat|mosquitto_(?:pub|sub)|openssl s_client|"
                    r"scp|ftp|ssh|rsync) +[-/\w$]*[-:/.]",
                    line,
                )
                and line not in f"{SOCKET_BLOCK}{TLS_BLOCK}{SHOW_KEY}{ANSWERS}".splitlines()
            ):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")

    assert [
        line
        for line in found
        if SHOW_KEY not in line
        and not ANSWERS_BY_SSH.search(line)
        and not STATUS_OF_THE_PAGE.search(line)
    ] == []


def clips_lines() -> list[str]:
    """Every line of the owner's guide with ``earmark clips`` and the archive that it remembers."""
    lines = re.findall(
        r"^earmark clips (?!verify|.* --verify|.* --owner).*$", YOUR_CLIPS, re.MULTILINE
    )
    return [re.split(r" +#| >", line)[0] for line in lines]


def test_guide_has_a_line_for_each_request() -> None:
    actions = {line.split()[2] for line in clips_lines()}

    assert actions == {
        prog.split()[2] for prog in PARSERS if re.fullmatch(r"earmark clips [a-z-]+", prog)
    } - {"verify"}


@pytest.mark.parametrize("line", clips_lines())
def test_lines_of_the_guide_send_no_clip_to_a_false_archive(
    owner: Owner, lying: LyingArchive, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(owner.folder)
    next_key = pyrage.x25519.Identity.generate()
    (owner.folder / "next.key").write_text(f"{next_key}\n")
    socket_path = owner.folder / ".local" / "share" / "earmark" / "archive.sock"
    who = f"--owner ada --identity ada.key --archive unix:{socket_path} --home home"
    words = shlex.split(f"{line.replace('CLIP', CLIP)} {who}")[2:]
    if words[0] == "erase":
        words.append("--yes")
    codes = []
    for lie in ("a clip", "another request", "more in the line", "redirect", "not HTTP"):
        lying.ticket = REFUSED[lie](owner)

        codes.append(main.main(["clips", *words]))

    owner.assert_nothing_leaked(lying)
    assert lying.answers == []
    assert 0 not in codes
