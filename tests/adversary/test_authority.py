"""Attacks on whose word counts: retired keys, other owners, forged key rotations, odd requests."""

import base64
import contextlib
import io
import json
import os
import re
import socket
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
import pytest

from listener.archive import openapi
from listener.archive.owner_state import OwnerState
from listener.archive.pending_messages import share_message
from listener.archive.records import RowMac
from listener.archive.schema import ERRORS
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.envelope.open import parse_identities
from listener.owner import key_rotation
from listener.owner.key_rotation import KeyRotation, prove_rotation
from listener.rights import requests
from tests.adversary.rights_clients import ArchiveProcess, proof, running_archive

if TYPE_CHECKING:
    from tests.conftest import Household

pytestmark = pytest.mark.system

CLIPS = 4


@pytest.fixture
def clips(household: "Household", home: Path) -> dict[str, list[str]]:
    """Clips of ada and bob from the speaker hall, by owner."""
    stored: dict[str, list[str]] = {"ada": [], "bob": []}
    store = FileStore(home / "archive", row_mac=RowMac.for_key(household.home.archive_key()))
    for seq in range(1, CLIPS + 1):
        header = household.header(seq, "ada" if seq % 2 else "bob")
        data = household.seal(header)
        store.keep(form.parse_envelope(data), data, 1_795_334_400)
        stored[header.owner].append(header.clip)
    store.close()
    return stored


@pytest.fixture
def archive(home: Path, tmp_path: Path, clips: dict[str, list[str]]) -> Iterator[ArchiveProcess]:
    del clips
    with running_archive(home, tmp_path) as running:
        yield running


def new_identity() -> tuple[str, str]:
    made = pyrage.x25519.Identity.generate()
    return str(made), str(made.to_public())


def rows(archive: ArchiveProcess, owner: str, identity: str) -> list[dict[str, Any]]:
    """The bodies of the access log that an owner can read."""
    told = archive.ask(owner, identity, {"op": "log"}).json()["rows"]
    return [row["body"] for row in told if "body" in row]


def test_tickets_of_a_stolen_key_are_refused_after_its_replacement(
    archive: ArchiveProcess, household: "Household"
) -> None:
    stolen = household.identities["ada"]
    evil, evil_recipient = new_identity()
    wanted: list[dict[str, object]] = [
        {"op": "list"},
        {"op": "export"},
        {"op": "erase", "all": True},
        {"op": "retention", "days": 1},
    ]
    tickets = [archive.ticket("ada", request) for request in wanted]
    takeover = archive.ticket("ada", {"op": "new-key", "recipient": evil_recipient})
    following, recipient = new_identity()
    changed = archive.ask("ada", stolen, {"op": "new-key", "recipient": recipient}, following)
    assert changed.status == 200

    refused = [archive.answer(ticket, proof(ticket, stolen)) for ticket in tickets]
    refused.append(archive.answer(takeover, proof(takeover, stolen, evil)))

    assert [(one.status, one.json()["error"]) for one in refused] == [(404, "ticket")] * 5
    assert len(archive.ask("ada", following, {"op": "list"}).json()["clips"]) == CLIPS // 2
    assert archive.ask("ada", following, {"op": "retention"}).json()["days"] is None
    seen = [row["op"] for row in rows(archive, "ada", following) if row["outcome"] == "refused"]
    assert sorted(seen) == ["erase", "export", "list", "new-key", "retention"]


def test_id_of_another_owners_clip_is_answered_like_an_unknown_one(
    archive: ArchiveProcess, household: "Household", clips: dict[str, list[str]]
) -> None:
    ada, bob = household.identities["ada"], household.identities["bob"]
    stored, erased = clips["ada"]
    archive.ask("ada", ada, {"op": "erase", "clips": [erased]})

    def head() -> int:
        return int(archive.send("GET", "/v1/archive").json()["head"]["head"]["n"])

    told = []
    for clip in (stored, erased, str(uuid.uuid4())):
        before = head()
        played = archive.ask("bob", bob, {"op": "play", "clip": clip})
        receipt = archive.ask("bob", bob, {"op": "erase", "clips": [clip]}).json()["receipt"]
        told.append((played.status, played.body, receipt["clips"], head() - before))

    assert told[0] == told[1] == told[2]
    assert told[0][0] == 404
    assert archive.ask("ada", ada, {"op": "play", "clip": stored}).status == 200
    assert not [row for row in rows(archive, "bob", bob) if "ada" in (row["owner"], row["other"])]
    reported = [row for row in rows(archive, "ada", ada) if row["outcome"] == "not-hers"]
    assert [(row["other"], row["count"]) for row in reported] == [("bob", 2)]


def test_forged_key_rotations_of_another_owner_displace_none(
    archive: ArchiveProcess, household: "Household"
) -> None:
    device = household.device_key
    following, recipient = new_identity()
    (old,) = parse_identities(household.identities["ada"].encode(), "ada")
    (new,) = parse_identities(following.encode(), "new")
    rotation = prove_rotation(
        KeyRotation(owner="ada", device="hall", old=old.okey, new=recipient),
        old.agreement(),
        new.agreement(),
        device.public_key(),
    )
    speaker = household.home.roster()  # the speaker is off: it still has the old key
    proofs = [{"device": "hall", "old": rotation.old_proof, "new": rotation.new_proof}]
    request = {"op": "new-key", "recipient": recipient, "proofs": proofs}
    told = archive.ask("ada", household.identities["ada"], request, following).json()
    assert told["forwarded"] == ["hall"]

    zeros = base64.b64encode(bytes(32)).decode()
    identity = household.identities["bob"]
    for _ in range(20):
        following, recipient = new_identity()
        forged = [{"device": "hall", "old": zeros, "new": zeros}]
        request = {"op": "new-key", "recipient": recipient, "proofs": forged}
        assert archive.ask("bob", identity, request, following).status == 200
        identity = following

    with contextlib.closing(OwnerState(household.home.path / "orders.sqlite")) as state:
        pending = state.pending_keys()["hall"]
    for known in ({"ada", "bob"}, {"bob"}, set[str]()):
        carried = key_rotation.parse(f"[{','.join(share_message(pending, known))}]".encode())
        after = key_rotation.apply_rotation(speaker, carried, "hall", device)
        assert after.known_owner("ada").recipient == rotation.new
        assert after.known_owner("bob") == speaker.known_owner("bob")


def test_flood_of_requests_of_one_owner_grows_no_others_export(
    archive: ArchiveProcess, household: "Household"
) -> None:
    ada, bob = household.identities["ada"], household.identities["bob"]
    first = archive.ask("ada", ada, {"op": "export"})
    for _ in range(150):
        archive.ask("bob", bob, {"op": "retention"})
        theirs, own = archive.ticket("ada", {"op": "list"}), archive.ticket("bob", {"op": "list"})
        assert archive.answer(theirs, proof(own, bob)).status == 403

    seen = rows(archive, "ada", ada)
    export = archive.ask("ada", ada, {"op": "export"})
    head = {"n": _receipt(first)["head"]["n"], "hash": _receipt(first)["head"]["hash"]}
    later = archive.ask("ada", ada, {"op": "export", "log_after": head})

    crossed = [row for row in seen if row["outcome"] == "crossed"]
    assert len(crossed) == 21
    assert sum(row["count"] for row in crossed) == 120
    assert len(_log(export)) <= 60, "300 requests"
    assert _log(later)[0] == head
    assert len(_log(later)) == len(_log(export)) - head["n"] + 2


def test_tickets_of_the_longest_requests_fit_the_servers_limits(
    archive: ArchiveProcess, household: "Household"
) -> None:
    ada = household.identities["ada"]
    following, recipient = new_identity()
    proofs = [
        {
            "device": f"{uuid.uuid4().hex[:29]}-{number:02}",
            "old": _text(os.urandom(32)),
            "new": _text(os.urandom(32)),
        }
        for number in range(requests.MOST_PROOFS)
    ]
    unknown = [str(uuid.uuid4()) for _ in range(requests.MOST_NAMED)]

    erased = archive.ask("ada", ada, {"op": "erase", "clips": unknown})
    request = {"op": "new-key", "recipient": recipient, "proofs": proofs}
    ticket = archive.ticket("ada", request)
    changed = archive.answer(ticket, proof(ticket, ada, following))

    assert erased.status == 200
    assert len(ticket["ticket"]) > 8000
    assert changed.status == 200, changed.body
    assert changed.json()["forwarded"] == [], "the household has no such speakers"


def _receipt(export: Any) -> dict[str, Any]:  # noqa: ANN401 - a response of the test client, which has no public type
    with zipfile.ZipFile(io.BytesIO(export.body)) as archive:
        return dict(json.loads(archive.read("receipt.json"))["receipt"])


def _log(export: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a response of the test client, which has no public type
    with zipfile.ZipFile(io.BytesIO(export.body)) as archive:
        return [json.loads(line) for line in archive.read("access-log.jsonl").splitlines()]


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


REQUESTS = [
    b"POST /v1/tickets/ HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n",
    b"GET /v1/archive/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET http://evil.example/v1/archive HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET //evil.example/v1/archive HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/archive?x=http://evil.example HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /v1/archive HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS /v1/tickets HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n\r\n",
    b"TRACE /v1/archive HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"BREW /v1/tickets HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/archive HTTP/1.0\r\n\r\n",
    b"GET /v1/archive HTTP/1.1\r\n\r\n",
    b"GET /v1/archive HTTP/9.9\r\nHost: x\r\n\r\n",
    (
        b"GET /v1/archive HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ),
    b"GET /v1/archive HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"GET /v1/archive HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 16_300 + b"\r\n\r\n",
    b"GET /v1/archive HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    b"\r\n\r\n\r\n\r\nx\r\n\r\n",
    b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    (
        b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"
    ),
    b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 17000\r\n\r\n" + b"x" * 17_000,
    (
        b"POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}"
    ),
    b"POST /v1/tickets/x HTTP/1.1\r\nHost: x\r\nContent-Length: 600\r\n\r\n" + b"y" * 600,
    b"POST /v1/tickets/" + b"A" * 15_500 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\ny",
]


def read_response(sock: socket.socket, *, has_body: bool) -> tuple[bytes, bytes]:
    """Return head and body of the first response that is not 100 (Continue)."""
    answer = head = body = b""
    while piece := sock.recv(1 << 16):
        answer = re.sub(rb"\AHTTP/1\.1 100 [^\r]*\r\n(?:[^\r]+\r\n)*\r\n", b"", answer + piece)
        head, separator, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
        if separator and length and (not has_body or len(body) >= int(length[1])):
            return head, body[: int(length[1])]
    return head, body


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
def test_every_response_has_a_documented_status_and_error(
    archive_of_session: ArchiveProcess, request_: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", archive_of_session.port), 30) as sock:
        sock.sendall(request_)
        head, body = read_response(sock, has_body=not request_.startswith(b"HEAD"))

    status = int(re.match(rb"HTTP/1\.1 ([0-9]{3}) ", head)[1])  # type: ignore[index] # fails the test if there is none
    assert status == 200 or status in ERRORS, head
    assert b"location" not in head.lower()
    assert b"evil" not in head + body
    if request_.startswith(b"HEAD"):
        assert (status, body) == (405, b"")
    elif status == 200:
        assert json.loads(body).keys() == {"v", "archive", "head"}
    else:
        problem = json.loads(body)
        assert problem["error"] in ERRORS[status]
        assert b"content-type: application/json" in head.lower()


@pytest.fixture(scope="module")
def archive_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveProcess]:
    """An archive without owners, for requests that need none."""
    folder = tmp_path_factory.mktemp("archive")
    home = folder / "home"
    home.mkdir(mode=0o700)
    with running_archive(home, folder) as running:
        yield running


def test_description_lists_only_documented_statuses() -> None:
    for path in openapi.describe()["paths"].values():
        for operation in path.values():
            assert {int(status) for status in operation["responses"]} <= {200, 201, *ERRORS}
