"""The client against hostile and faulty archives."""

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


class FakeArchive:
    """A server with scripted responses, which counts the requests."""

    def __init__(self, path: Path) -> None:
        self.server = Server(path)
        self.answers: list[bytes] = []
        self.requests = 0
        self.server.respond = self._respond

    def ticket(self, line: str, **fields: object) -> None:
        sealed = pyrage.encrypt(line.encode(), [SECRET.to_public()], armored=True).decode()
        body = {"ticket": "t" * 22, "challenge": sealed} | fields
        self.add(json.dumps(body).encode(), status=201)

    def add(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        begin = head(f"content-type: {kind}", f"content-length: {len(body)}")
        self.answers.append(begin.replace(b"200 OK", f"{status} x".encode()) + body)

    def _respond(self, peer: object) -> None:
        peer.sendall(self.answers.pop(0))  # type: ignore[attr-defined] # a socket
        self.requests += 1


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[FakeArchive]:
    fake = FakeArchive(tmp_path / "s")
    yield fake
    fake.server.stop()


@pytest.fixture
def client(archive: FakeArchive, tmp_path: Path) -> ArchiveClient:
    del archive
    http = HttpClient(parse_address(f"unix:{tmp_path / 's'}", None))
    return ArchiveClient(http, "ada", parse_identities(str(SECRET).encode(), "x"))


def request_retention(client: ArchiveClient) -> RetentionReply:
    reply: RetentionReply = client.request(REQUEST, RetentionReply)
    return reply


def test_challenge_of_this_request_is_answered(archive: FakeArchive, client: ArchiveClient) -> None:
    archive.ticket(f"ada:retention:{DIGEST}:{NONCE}\n")
    archive.add(b'{"owner":"ada","days":7}')

    assert request_retention(client).days == 7


@pytest.mark.parametrize(
    "line",
    [
        "a sentence from the kitchen",
        f"ada:erase:{DIGEST}:{NONCE}",
        f"bob:retention:{DIGEST}:{NONCE}",
        f"ada:retention:{'0' * 16}:{NONCE}",
        f"ada:retention:{DIGEST}:{NONCE}\nand more",
        f"ada:retention:{DIGEST}:{'a' * 600}",
        "",
    ],
)
def test_any_other_challenge_is_not_answered(
    archive: FakeArchive, client: ArchiveClient, line: str
) -> None:
    archive.ticket(line)

    with pytest.raises(Unavailable, match="no answer was sent"):
        request_retention(client)
    assert archive.requests <= 1


@pytest.mark.parametrize("line", ["a sentence from the kitchen", f"ada:retention:{DIGEST}:{NONCE}"])
def test_no_answer_is_sent_before_both_challenges_are_checked(
    archive: FakeArchive, client: ArchiveClient, line: str
) -> None:
    """A new key is proven together with the old one; the second challenge may be the clip."""
    following = pyrage.x25519.Identity.generate()
    request = requests.NewKeyRequest(recipient=str(following.to_public()))
    sealed = pyrage.encrypt(line.encode(), [following.to_public()], armored=True).decode()
    first = f"ada:new-key:{requests.digest(request)[:16]}:{NONCE}"
    archive.ticket(first, new_challenge=sealed)

    with pytest.raises(Unavailable, match="no answer was sent"):
        client.request(request, KeysReply, parse_identities(f"{following}\n".encode(), "x")[0])
    assert archive.requests <= 1


def test_challenge_for_another_key_is_an_error(archive: FakeArchive, client: ArchiveClient) -> None:
    archive.add(json.dumps({"ticket": "t", "challenge": "rubbish"}).encode(), status=201)

    with pytest.raises(EarmarkError, match="cannot decrypt"):
        request_retention(client)


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
def test_refusal_becomes_one_printable_line(
    archive: FakeArchive, client: ArchiveClient, status: int, error: str, raised: type[EarmarkError]
) -> None:
    problem = {"error": error, "message": "no\x1b[2J\nway", "hint": ""}
    archive.add(json.dumps(problem).encode(), status=status)

    with pytest.raises(raised, match=r"the archive answered: no \[2J way") as caught:
        request_retention(client)
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
def test_server_that_is_not_an_archive_is_unavailable(
    archive: FakeArchive, client: ArchiveClient, body: bytes, kind: str, status: int
) -> None:
    archive.add(body, kind, status)

    with pytest.raises(Unavailable):
        request_retention(client)


def test_result_of_another_media_type_is_refused(
    archive: FakeArchive, client: ArchiveClient
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.get_envelope("7f3f0a66-0000-4000-8000-000000000000"),
        lambda: list(client.get_export(requests.ExportRequest(), 100)),
    ]
    expected: list[requests.Request] = [
        requests.PlayRequest(clip="7f3f0a66-0000-4000-8000-000000000000"),
        requests.ExportRequest(),
    ]
    for call, request in zip(calls, expected, strict=True):
        archive.ticket(f"ada:{request.op}:{requests.digest(request)[:16]}:{NONCE}")
        archive.add(b"{}")

        with pytest.raises(Unavailable, match="not an Earmark archive"):
            call()


def test_new_key_without_second_challenge_is_not_answered(
    archive: FakeArchive, client: ArchiveClient
) -> None:
    request = requests.NewKeyRequest(recipient=str(SECRET.to_public()))
    archive.ticket(f"ada:new-key:{requests.digest(request)[:16]}:{NONCE}")

    with pytest.raises(Unavailable, match="did not request proof of the new key"):
        client.request(request, KeysReply, client.identities[0])
