"""What an owner's client does not let itself be talked into."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from listener.clips.client import ArchiveClient
from listener.clips.http import HttpClient, parse_address
from listener.clips.schema import KeysReply, RetentionReply
from listener.envelope.open import parse_identities
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.rights import requests
from tests.clips.test_http import Server, head

SECRET = pyrage.x25519.Identity.generate()
REQUEST = requests.RetentionRequest()
DIGEST = requests.digest(REQUEST)[:16]
NONCE = "a" * 26


class Fake:
    """An archive that says what a test wants; it keeps what it was told."""

    def __init__(self, path: Path) -> None:
        self.server = Server(path)
        self.answers: list[bytes] = []
        self.told: list[bytes] = []
        self.server.says = self._say

    def ticket(self, line: str, **fields: object) -> None:
        sealed = pyrage.encrypt(line.encode(), [SECRET.to_public()], armored=True).decode()
        body = {"ticket": "t" * 22, "challenge": sealed} | fields
        self.add(json.dumps(body).encode(), status=201)

    def add(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        begin = head(f"content-type: {kind}", f"content-length: {len(body)}")
        self.answers.append(begin.replace(b"200 OK", f"{status} x".encode()) + body)

    def _say(self, peer: object) -> None:
        peer.sendall(self.answers.pop(0))  # type: ignore[attr-defined] # a socket
        self.told.append(b"x")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    made = Fake(tmp_path / "s")
    yield made
    made.server.stop()


@pytest.fixture
def asker(fake: Fake, tmp_path: Path) -> ArchiveClient:
    del fake
    wire = HttpClient(parse_address(f"unix:{tmp_path / 's'}", None))
    return ArchiveClient(wire, "ada", parse_identities(str(SECRET).encode(), "x"))


def ask(asker: ArchiveClient) -> RetentionReply:
    found: RetentionReply = asker.request(REQUEST, RetentionReply)
    return found


def test_a_question_about_this_request_is_answered(fake: Fake, asker: ArchiveClient) -> None:
    fake.ticket(f"ada:retention:{DIGEST}:{NONCE}\n")
    fake.add(b'{"owner":"ada","days":7}')

    assert ask(asker).days == 7


@pytest.mark.parametrize(
    "line",
    [
        "what she said in the kitchen",
        f"ada:erase:{DIGEST}:{NONCE}",
        f"bob:retention:{DIGEST}:{NONCE}",
        f"ada:retention:{'0' * 16}:{NONCE}",
        f"ada:retention:{DIGEST}:{NONCE}\nand more",
        f"ada:retention:{DIGEST}:{'a' * 600}",
        "",
    ],
)
def test_whatever_else_is_to_be_read_to_the_archive_is_not(
    fake: Fake, asker: ArchiveClient, line: str
) -> None:
    fake.ticket(line)

    with pytest.raises(Unavailable, match="nothing was answered"):
        ask(asker)
    assert len(fake.told) <= 1


def test_a_challenge_to_another_key_is_said(fake: Fake, asker: ArchiveClient) -> None:
    fake.add(json.dumps({"ticket": "t", "challenge": "rubbish"}).encode(), status=201)

    with pytest.raises(EarmarkError, match="does not open"):
        ask(asker)


@pytest.mark.parametrize(
    ("status", "error", "raised"),
    [
        (404, "owner", EarmarkError),
        (403, "proof", EarmarkError),
        (422, "request", UsageError),
        (503, "unavailable", Unavailable),
        (408, "slow", Unavailable),
    ],
)
def test_a_no_is_told_in_one_line(
    fake: Fake, asker: ArchiveClient, status: int, error: str, raised: type[EarmarkError]
) -> None:
    told = {"error": error, "message": "no\x1b[2J\nway", "hint": ""}
    fake.add(json.dumps(told).encode(), status=status)

    with pytest.raises(raised, match=r"the archive says: no \[2J way") as caught:
        ask(asker)
    assert type(caught.value) is raised


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "text/html", 200),
        (b"<html>", "text/html", 502),
        (b"", "application/json", 301),
        (b"{", "application/json", 200),
        (b"{}", "application/json", 404),
        (b'{"ticket":"../x","challenge":""}', "application/json", 201),
        (b'"' + b"x" * 70_000 + b'"', "application/json", 200),
    ],
)
def test_who_is_no_archive_is_unavailable(
    fake: Fake, asker: ArchiveClient, body: bytes, kind: str, status: int
) -> None:
    fake.add(body, kind, status)

    with pytest.raises(Unavailable):
        ask(asker)


def test_a_result_of_another_kind_is_refused(fake: Fake, asker: ArchiveClient) -> None:
    look: list[Callable[[], object]] = [
        lambda: asker.get_envelope("7f3f0a66-0000-4000-8000-000000000000"),
        lambda: list(asker.get_export(requests.ExportRequest(), 100)),
    ]
    wanted: list[requests.Request] = [
        requests.PlayRequest(clip="7f3f0a66-0000-4000-8000-000000000000"),
        requests.ExportRequest(),
    ]
    for call, request in zip(look, wanted, strict=True):
        fake.ticket(f"ada:{request.op}:{requests.digest(request)[:16]}:{NONCE}")
        fake.add(b"{}")

        with pytest.raises(Unavailable, match="no archive"):
            call()


def test_a_new_key_is_proved_or_nothing_is_said(fake: Fake, asker: ArchiveClient) -> None:
    request = requests.NewKeyRequest(recipient=str(SECRET.to_public()))
    fake.ticket(f"ada:new-key:{requests.digest(request)[:16]}:{NONCE}")

    with pytest.raises(Unavailable, match="no proof of the new key"):
        asker.request(request, KeysReply, asker.identities[0])
