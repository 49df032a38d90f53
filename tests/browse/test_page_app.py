"""The page's server on loopback: session, origin, files, and requests to a real archive."""

import json
import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from listener.browse.forwarding import ArchiveForwarder
from listener.browse.loopback_server import FIRST_PORT, PORTS, LoopbackServer, port_of
from listener.browse.refusal import PageRequestRefused
from listener.browse.sessions import MOST_SESSIONS, Sessions
from listener.clips.http import Address
from listener.clips.trust_store import TrustStore
from listener.clips.voice_record import VoiceRecord
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.envelope.verify import verify_device
from listener.errors import Unavailable
from tests.browse.conftest import INDEX
from tests.browse.tabs import RunningCommand, Tab
from tests.ports import find_free_port

if TYPE_CHECKING:
    from tests.browse.conftest import Sounding
    from tests.conftest import Household

pytestmark = pytest.mark.system  # real sockets, and a real archive

ROOT = Path(__file__).resolve().parents[2]


def test_list_play_and_erase_of_a_tab(tab: Tab, shelf: "Sounding", household: "Household") -> None:
    ada = household.identities["ada"]
    kept, erased = shelf.put(), shelf.put()
    shelf.put("bob")

    listed = tab.request(ada, "list").json()["clips"]
    played = tab.request(ada, "play", clip=kept)
    receipt = tab.request(ada, "erase", clips=[erased])
    stored = tab.send("POST", "/page/receipt", receipt.data)

    assert sorted(one["clip"] for one in listed) == sorted([kept, erased])
    assert played.headers["content-type"] == "application/vnd.earmark.envelope"
    device = household.home.roster().device_keys()
    assert verify_device(played.data, device).header.clip == kept
    assert receipt.json()["receipt"]["clips"] == [erased]
    assert Path(stored.json()["path"]).read_bytes() == receipt.data
    assert [one["clip"] for one in tab.request(ada, "list").json()["clips"]] == [kept]


def test_export_is_streamed_whole(tab: Tab, shelf: "Sounding", household: "Household") -> None:
    clips = {shelf.put() for _ in range(3)}

    reply = tab.request(household.identities["ada"], "export")

    assert reply.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(BytesIO(reply.data)) as opened:
        assert opened.testzip() is None
        names = opened.namelist()
    assert {f"clips/{clip}.earmark" for clip in clips} < set(names)


def test_every_response_has_the_documented_headers(tab: Tab) -> None:
    document = (ROOT / "docs/reference/browser-page.md").read_text("utf-8")
    block = document.split("## Headers")[1].split("```")[1]
    wanted = dict(line.split(": ", 1) for line in block.strip().splitlines())
    assert len(wanted) == 9

    for reply in (
        tab.get("/"),
        tab.get("/page/page.js"),
        tab.get("/page/start.json"),
        tab.get("/v1/archive"),
        tab.get("/none"),
        tab.send("DELETE", "/"),
        tab.get("/", host="evil.example"),
        tab.get("/page/start.json", earmark_session="wrong"),
    ):
        got = {name: reply.headers.get(name.lower()) for name in wanted}
        assert got == wanted, reply


def test_files_of_the_page(tab: Tab) -> None:
    index, script = tab.get("/"), tab.get("/page/page.js")

    assert (index.data.decode(), index.headers["content-type"]) == (
        INDEX,
        "text/html; charset=utf-8",
    )
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    for path in ("/page/none.js", "/page/../page.js", "/page/%2e%2e/index.html", "/page/", "//"):
        assert tab.get(path).status == 404, path
        assert tab.get(path).json()["error"] == "path"
    assert tab.send("HEAD", "/").status == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/page/start.json"),
        ("GET", "/v1/archive"),
        ("POST", "/v1/tickets"),
        ("POST", "/v1/tickets/abc"),
        ("POST", "/page/receipt"),
        ("POST", "/page/log-head"),
        ("POST", "/page/speaker"),
        ("POST", "/page/consents"),
    ],
)
def test_nothing_is_answered_without_a_session(tab: Tab, method: str, path: str) -> None:
    body = None if method == "GET" else b"{}"
    for session in ("", "A" * 43, tab.session[:-1], tab.session.swapcase()):
        reply = tab.send(method, path, body, earmark_session=session)
        assert (reply.status, reply.json()["error"]) == (401, "session")


def test_token_is_valid_once(open_tab: Callable[..., Tab]) -> None:
    first = open_tab()
    assert first.post("/page/session", {"token": "A" * 43}).status == 401
    assert first.post("/page/session", {"token": ""}).status == 401
    first.open()

    second = Tab(first.port, first.token)

    assert second.post("/page/session", {"token": first.token}).status == 401
    assert first.get("/page/start.json").status == 200


def test_sessions_are_bounded_and_the_oldest_gives_way() -> None:
    sessions = Sessions()
    made = [sessions.redeem(sessions.token) or "" for _ in range(MOST_SESSIONS + 1)]

    assert len(set(made)) == MOST_SESSIONS + 1
    assert [sessions.is_open(one) for one in made] == [False, *[True] * MOST_SESSIONS]
    assert not sessions.is_open("")


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost"},
        {"host": "127.0.0.1"},
        {"host": "localhost.evil.example"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/page/start.json", "/v1/archive"])
def test_other_sites_get_nothing(tab: Tab, headers: dict[str, str], path: str) -> None:
    reply = tab.get(path, **headers)

    # HTTP/1.1 without a host is malformed before the filter reads it.
    assert reply.status == (400 if headers == {"host": ""} else 403)
    assert b"page" not in reply.data or reply.json()["error"] == "origin"


def test_first_navigation_of_a_browser_is_served(tab: Tab) -> None:
    assert tab.get("/", origin="", sec_fetch_site="none", earmark_session="").status == 200


def test_start_document_has_the_documented_fields(tab: Tab) -> None:
    document = (ROOT / "docs/reference/browser-page.md").read_text("utf-8")
    block = document.split("## Start document")[1].split("```json")[1].split("```")[0]
    sample = json.loads(block)

    start = tab.get("/page/start.json").json()

    assert list(start) == list(sample)
    assert (start["v"], start["entry"], start["owner"]) == (1, "computer", "ada")
    assert (start["archive"], start["log_head"], start["speakers"]) == (None, None, [])


def test_keys_head_and_consents_are_kept_on_this_computer(
    tab: Tab, shelf: "Sounding", household: "Household", owners_home: Path
) -> None:
    ada = household.identities["ada"]
    shelf.put()
    (key,) = household.home.roster().device_keys().values()
    text = keys.device_text(key)

    speakers = tab.post("/page/speaker", {"name": "hall", "key": text}).json()["speakers"]
    head = tab.request(ada, "log").json()["head"]["head"]
    told = tab.post("/page/log-head", {"n": head["n"], "hash": head["hash"]})
    okey = parse_identities(ada.encode(), "ada")[0].okey
    consent = {"assist": text, "n": 7, "okey": okey, "on": 1}
    given = tab.post("/page/consents", {"consents": {"hall": consent}})

    assert speakers == [{"name": "hall", "key": text, "last_seq": None}]
    assert (told.status, given.status) == (200, 200)
    known = TrustStore(owners_home)
    assert known.head is not None
    assert known.head.n == head["n"]
    assert set(known.signers()) == {"hall"}
    assert VoiceRecord(owners_home, "ada").consents()["hall"].n == 7
    start = tab.get("/page/start.json").json()
    assert start["speakers"] == speakers
    assert start["consents"] == {"hall": consent}
    assert start["log_head"] == {"n": head["n"], "hash": head["hash"]}


def test_another_key_of_a_known_speaker_is_refused(tab: Tab) -> None:
    first, other = (keys.device_text(Ed25519PrivateKey.generate().public_key()) for _ in range(2))
    assert tab.post("/page/speaker", {"name": "hall", "key": first}).status == 200

    refused = tab.post("/page/speaker", {"name": "hall", "key": other})

    assert (refused.status, refused.json()["error"]) == (409, "key")
    assert [one["key"] for one in tab.get("/page/start.json").json()["speakers"]] == [first]


def test_receipt_of_another_archive_or_owner_is_not_stored(
    tab: Tab, shelf: "Sounding", household: "Household", owners_home: Path
) -> None:
    receipt = tab.request(household.identities["ada"], "erase", clips=[shelf.put()])
    changed = receipt.data.replace(b'"count":1', b'"count":2')
    assert changed != receipt.data

    for data in (changed, b"{}", b"[]", b""):
        reply = tab.send("POST", "/page/receipt", data)
        assert (reply.status, reply.json()["error"]) == (409, "key")
    assert not (owners_home / "clips" / "receipts").exists()


def test_requests_of_another_owner_are_not_forwarded(tab: Tab) -> None:
    body = {"owner": "bob", "request": {"op": "list"}}

    reply = tab.post("/v1/tickets", body)

    assert (reply.status, reply.json()["error"]) == (422, "request")


def test_archive_that_is_away_is_an_error_of_its_own(
    open_tab: Callable[..., Tab], tmp_path: Path
) -> None:
    tab = open_tab(str(tmp_path / "no.sock")).open()

    for reply in (
        tab.get("/v1/archive"),
        tab.post("/v1/tickets", {"owner": "ada", "request": {"op": "list"}}),
    ):
        assert (reply.status, reply.json()["error"]) == (502, "archive")
        assert "cannot connect" in reply.json()["message"]
    assert tab.get("/").status == 200


def unreachable() -> Address:
    def connect() -> None:
        raise AssertionError("something was forwarded")

    return Address("nowhere", connect)  # type: ignore[arg-type]  # it never returns


SECRET = "AGE-SECRET-KEY-1" + "Q" * 58
LINE = "ada:list:0123456789abcdef:" + "a" * 26


@given(st.one_of(st.binary(max_size=600), st.text(max_size=200).map(str.encode)))
@example(SECRET.encode())
@example(f"{LINE}\n{SECRET}".encode())
@example(f"{LINE}{SECRET}".encode())
@example(LINE.replace("ada", "bob").encode())
@example(b"fLaC" + bytes(500))
@example(f"{LINE}\n{LINE}\n{LINE}".encode())
def test_nothing_but_an_answer_is_forwarded(body: bytes) -> None:
    forwarder = ArchiveForwarder(unreachable(), "ada")

    with pytest.raises(PageRequestRefused) as refused:
        forwarder.answer_challenge("t" * 16, body)

    assert (refused.value.status, refused.value.error) == (422, "request")


@pytest.mark.parametrize("body", [LINE, f"{LINE}\n", f"{LINE}\n{LINE}\n"])
def test_answers_are_forwarded(body: str) -> None:
    with pytest.raises(AssertionError, match="something was forwarded"):
        ArchiveForwarder(unreachable(), "ada").answer_challenge("t" * 16, body.encode())


@given(st.binary(max_size=300))
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@example(b'{"token":"a","token":"b"}')
@example(b'{"name":"hall","key":"ed25519:"}')
@example(b"[" * 300)
def test_any_body_gets_a_documented_error(tab: Tab, body: bytes) -> None:
    for path in ("session", "log-head", "speaker", "consents", "receipt"):
        reply = tab.send("POST", f"/page/{path}", body)
        assert reply.status in {401, 409, 422}, (path, reply)
        assert set(reply.json()) == {"error", "message", "hint"}
    assert tab.send("POST", "/v1/tickets", body).status == 422


def test_long_and_untyped_bodies_are_refused(tab: Tab) -> None:
    assert tab.send("POST", "/v1/tickets", b" " * ((16 << 10) + 1)).status == 413
    assert tab.send("POST", "/page/receipt", b" " * ((8 << 20) + 1)).status == 413
    assert tab.send("POST", "/page/speaker", b"{}", "text/plain").status == 415


def test_port_is_the_owners() -> None:
    ports = {port_of(f"owner-{number}") for number in range(200)}

    assert port_of("ada") == port_of("ada") == 27_295
    assert len(ports) > 190
    assert all(FIRST_PORT <= port < FIRST_PORT + PORTS for port in ports)


def test_server_listens_on_loopback_alone_and_on_both_families() -> None:
    server = LoopbackServer(port := find_free_port())
    try:
        bound = {sock.getsockname()[:2] for sock in server._sockets}  # noqa: SLF001 - no other way to see them
        assert bound <= {("127.0.0.1", port), ("::1", port)}
        assert ("127.0.0.1", port) in bound
        with pytest.raises(Unavailable, match="Address already in use"):
            LoopbackServer(port)
    finally:
        server.stop()


def test_command_serves_until_it_is_ended(
    page_folder: Path,
    archive_socket: Path,
    owners_home: Path,
    shelf: "Sounding",
    household: "Household",
) -> None:
    # Not ada: the demonstration has that port, and its tests may run at the same time.
    clip = shelf.put("bob")
    words = ("--owner", "bob", "--archive", str(archive_socket), "--home", str(owners_home))
    browse = RunningCommand(
        *("clips", "browse", "--no-open"),
        *(*words, "--page", str(page_folder), "--language", "de"),
    )

    tab = browse.next_tab().open()
    other = browse.next_tab().open()

    assert tab.port == port_of("bob")
    for one in (tab, other):
        assert one.get("/page/start.json").json()["language"] == "de"
        listed = one.request(household.identities["bob"], "list", "bob").json()["clips"]
        assert [row["clip"] for row in listed] == [clip]
    assert browse.end() == (0, "")


def test_command_says_what_is_missing(tmp_path: Path) -> None:
    for words, code, text in (
        (("--page", str(tmp_path)), 2, "--owner is required"),
        (("--owner", "ada", "--page", str(tmp_path)), 78, "no browser page"),
        (("--owner", "ada", "--port", "80"), 2, "is not in the range"),
    ):
        browse = RunningCommand(
            "clips", "browse", "--no-open", *words, "--home", str(tmp_path / "home")
        )
        _, written = browse.process.communicate(timeout=60)
        assert browse.process.returncode == code, written
        assert re.search(text, written)
        assert len(written.splitlines()) <= 2
