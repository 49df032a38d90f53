"""The rights over HTTP, in this process.

What is sent back, also when it is a no, and when nobody waits for it any more.

Who is let in, and who is not.
"""

import asyncio
import base64
import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from listener.archive import schema
from listener.archive.api import Api, ChunkedResponse, failure_response, is_private_address
from listener.archive.challenges import RequestChallenge, RequestChallenges
from listener.archive.context import ArchiveContext
from listener.archive.operations import Operations, ZipStream
from listener.archive.verified_access import ClipNotFound, WrongOwner
from listener.envelope import keys
from listener.errors import EarmarkError, Unavailable
from listener.rights import hash_chain, receipts, requests
from tests.archive.crossing import cross

if TYPE_CHECKING:
    from httpx2 import Response

    from listener.archive.store import FileStore
    from tests.archive.conftest import FakeClock, Person, Shelf
    from tests.conftest import Household


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def receipt_of(response: "Response", holdings: ArchiveContext) -> receipts.Receipt:
    return receipts.parse_receipt(response.content, holdings.key.public_key())


def test_an_owner_lists_her_clips_and_nobody_elses(
    ada: "Person", bob: "Person", shelf: "Shelf"
) -> None:
    own = [shelf.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (1, 2)]
    shelf.put("bob")

    told = ada.ask("list").json()

    assert [one["clip"] for one in told["clips"]] == [one.clip for one in own]
    assert told["next"] is None
    assert told["clips"][0]["expires"] > told["clips"][0]["received"] - 2 * 86_400
    assert len(bob.ask("list").json()["clips"]) == 1


def test_a_list_is_of_a_day_a_device_and_in_pages(ada: "Person", shelf: "Shelf") -> None:
    made = [shelf.put(t=f"2026-11-21T08:00:0{second}.000Z") for second in range(5)]
    shelf.put(t="2026-11-22T00:00:00.000Z")

    first = ada.ask("list", day="2026-11-21", device="hall", limit=3).json()
    rest = ada.ask("list", day="2026-11-21", device="hall", after=first["next"]).json()

    assert [one["clip"] for one in first["clips"] + rest["clips"]] == [one.clip for one in made]
    assert ada.ask("list", device="kitchen").json()["clips"] == []


def test_a_list_shows_no_row_of_another_whatever_the_index_says(
    ada: "Person", bob: "Person", shelf: "Shelf", store: "FileStore"
) -> None:
    own = [shelf.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (1, 3)]
    others = [shelf.put("bob", t=f"2026-11-2{day}T09:00:00.000Z") for day in (1, 2, 4)]
    cross(store, "owner = 'ada'")

    first = ada.ask("list", limit=1)
    rest = ada.ask("list", after=first.json()["next"])

    shown = [one["clip"] for one in first.json()["clips"] + rest.json()["clips"]]
    assert shown == [one.clip for one in own]
    assert not any(one.clip in first.text + rest.text for one in others)
    for person in (ada, bob):
        rows = [row for row in person.rows() if row["outcome"] == "not-hers"]
        assert {(row["op"], row["owner"], row["other"]) for row in rows} == {("list", "ada", "bob")}


@pytest.mark.parametrize(
    "what",
    [
        "t = '2026-11-22T10:00:00.000Z'",
        "device = 'kitchen'",
        "ttl_s = 1",
        "size_bytes = 1",
        "expires_s = 1",
        "seq = 99",
        "code = ''",
    ],
)
def test_a_row_that_was_changed_is_told_as_its_file_has_it(
    ada: "Person", shelf: "Shelf", store: "FileStore", what: str
) -> None:
    header = shelf.put()
    true = ada.ask("list").json()["clips"]
    cross(store, what)

    told = ada.ask("list").json()["clips"]

    assert [{**one, "received": 0, "expires": 0} for one in told] == [
        {**one, "received": 0, "expires": 0} for one in true
    ]
    assert told[0]["expires"] > told[0]["received"]
    assert [one.clip for one in store.clips("ada")] == [header.clip]
    assert all(is_vouched for _, is_vouched in store.page_with_mac_check("ada", ("", "A")))


def test_a_changed_row_is_not_told_where_its_file_is_not_asked_for(
    ada: "Person", shelf: "Shelf", store: "FileStore"
) -> None:
    shelf.put(t="2026-11-21T08:00:00.000Z")
    cross(store, "t = '2026-11-22T08:00:00.000Z'")

    assert ada.ask("list", day="2026-11-22").json()["clips"] == []
    assert len(ada.ask("list", day="2026-11-21").json()["clips"]) == 1


def test_a_row_without_a_file_that_does_not_vouch_is_not_told(
    ada: "Person", shelf: "Shelf", store: "FileStore"
) -> None:
    header = shelf.put()
    shelf.path(header).unlink()
    assert len(ada.ask("list").json()["clips"]) == 1  # what was verified at intake is still known

    cross(store, "ttl_s = 1")

    assert ada.ask("list").json()["clips"] == []


def test_play_hands_out_the_envelope_as_it_is(ada: "Person", shelf: "Shelf") -> None:
    header = shelf.put()

    response = ada.ask("play", clip=header.clip)

    assert response.content == shelf.sealed[header.clip]
    assert response.headers["content-type"] == "application/vnd.earmark.envelope"
    assert response.headers["cache-control"] == "no-store"


def test_a_clip_of_another_is_not_handed_out_and_both_read_it(
    ada: "Person", bob: "Person", shelf: "Shelf"
) -> None:
    header = shelf.put("bob")

    response = ada.ask("play", clip=header.clip)

    assert (response.status_code, response.json()["error"]) == (409, "not-hers")
    for person in (ada, bob):
        (row,) = [row for row in person.rows() if row["op"] == "play"]
        assert (row["outcome"], row["owner"], row["other"]) == ("not-hers", "ada", "bob")


def test_an_export_is_whole_and_says_what_is_in_it(
    ada: "Person", bob: "Person", shelf: "Shelf", holdings: ArchiveContext
) -> None:
    made = {shelf.put().clip for _ in range(3)}
    shelf.put("bob")
    bob.ask("list")

    found = unzipped(ada.ask("export").content)

    clips = {name: data for name, data in found.items() if name.startswith("clips/")}
    assert {Path(name).stem for name in clips} == made
    manifest = [json.loads(line) for line in found["manifest.jsonl"].splitlines()]
    for line in manifest:
        data = clips[f"clips/{line['clip']}.earmark"]
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
    said = receipts.parse_receipt(found["receipt.json"], holdings.key.public_key())
    assert (said.kind, said.count) == ("export", 3)
    assert said.manifest_sha256 == hashlib.sha256(found["manifest.jsonl"]).hexdigest()
    rows = [
        hash_chain.parse_row(json.loads(line)) for line in found["access-log.jsonl"].splitlines()
    ]
    assert hash_chain.verify_chain(rows, [said.head]) == said.head
    assert [row.body.owner for row in rows if row.body] == ["ada"]
    assert json.loads(found["devices.json"]).keys() == {"hall"}
    assert b"age -d" in found["READ-ME-FIRST.html"]


def test_an_export_can_be_of_a_time(ada: "Person", shelf: "Shelf") -> None:
    shelf.put(t="2026-11-21T08:00:00.000Z")
    second = shelf.put(t="2026-11-22T08:00:00.000Z")

    fields = {"from": "2026-11-22T00:00:00.000Z", "device": "hall"}
    found = unzipped(ada.ask("export", **fields).content)

    assert [name for name in found if name.startswith("clips/")] == [f"clips/{second.clip}.earmark"]


def test_a_foreign_file_stops_an_export_and_both_read_it(
    ada: "Person", bob: "Person", shelf: "Shelf"
) -> None:
    shelf.put()
    foreign = shelf.put("bob")
    shelf.path(foreign).rename(shelf.store.path("ada", foreign.clip))

    told = ada.ask("export", until="2000-01-01T00:00:00.000Z")

    assert (told.status_code, told.json()["error"]) == (409, "not-hers")
    assert told.json()["clips"] == [foreign.clip]
    assert foreign.clip in told.json()["message"]
    assert "bob" not in told.text
    for person in (ada, bob):
        (row,) = [row for row in person.rows() if row["op"] == "export"]
        assert (row["outcome"], row["owner"], row["other"]) == ("not-hers", "ada", "bob")


def test_all_that_is_in_the_way_of_an_export_is_counted_and_the_first_are_named(
    ada: "Person", bob: "Person", shelf: "Shelf"
) -> None:
    for number in range(30):
        header = shelf.put("bob" if number % 3 else "ada")
        path = shelf.store.path("ada", header.clip)
        if number % 3:
            shelf.path(header).rename(path)
        else:
            path.write_bytes(b"rotten")

    told = ada.ask("export").json()

    assert told["message"].startswith("what lies in the archive does not verify as hers: 30 files")
    assert len(told["clips"]) == 20
    rows = {row["other"]: row["count"] for row in ada.rows() if row["op"] == "export"}
    assert rows == {"bob": 20, None: 10}
    assert [row["count"] for row in bob.rows() if row["op"] == "export"] == [20]


def test_what_is_crossed_while_an_export_goes_out_ends_it(
    bob: "Person", shelf: "Shelf", holdings: ArchiveContext, clock: "FakeClock"
) -> None:
    for _ in range(3):
        shelf.put()
    foreign = shelf.put("bob")
    ticket = RequestChallenge("ada", "a" * 24, requests.ExportRequest(), "0" * 64, 0.0, b"")
    going = Operations(holdings, clock).execute(ticket)
    assert isinstance(going, ZipStream)
    sent = next(going.pieces)
    shelf.path(foreign).rename(shelf.store.path("ada", foreign.clip))

    rest = io.BytesIO()
    with pytest.raises(WrongOwner):
        rest.writelines(going.pieces)

    sent += rest.getvalue()
    assert shelf.sealed[foreign.clip] not in sent
    with pytest.raises(zipfile.BadZipFile):
        unzipped(sent)
    assert [(row["op"], row["outcome"]) for row in bob.rows()][:1] == [("export", "not-hers")]


def test_a_disk_that_fails_while_an_export_is_verified_is_said_and_logged(
    ada: "Person", shelf: "Shelf"
) -> None:
    header = shelf.put()
    shelf.path(header).unlink()
    shelf.path(header).mkdir()

    assert ada.ask("export").status_code == 503
    assert [row["outcome"] for row in ada.rows() if row["op"] == "export"] == ["failed"]


def test_a_damaged_file_stops_an_export_and_can_be_erased(ada: "Person", shelf: "Shelf") -> None:
    header = shelf.put()
    shelf.path(header).write_bytes(b"rotten")

    assert ada.ask("export").json()["clips"] == [header.clip]
    assert ada.ask("erase", clips=[header.clip]).json()["receipt"]["clips"] == [header.clip]

    assert not shelf.path(header).exists()
    assert "receipt.json" in unzipped(ada.ask("export").content)


def test_erase_names_what_went_and_nothing_comes_back(
    ada: "Person", shelf: "Shelf", holdings: ArchiveContext, store: "FileStore"
) -> None:
    gone, stays = shelf.put(), shelf.put()

    said = receipt_of(ada.ask("erase", clips=[gone.clip, gone.clip]), holdings)

    assert said.clips == (gone.clip,)
    assert [one.clip for one in store.clips("ada")] == [stays.clip]
    assert not shelf.path(gone).exists()
    assert holdings.gone[0].sha256 == hashlib.sha256(shelf.sealed[gone.clip]).hexdigest()
    assert ada.ask("play", clip=gone.clip).status_code == 404
    assert said.head.n == holdings.log.head().n - 1


def test_erase_leaves_what_is_somebody_elses(
    ada: "Person", bob: "Person", shelf: "Shelf", store: "FileStore"
) -> None:
    foreign = shelf.put("bob")
    shelf.put()
    cross(store, "owner = 'ada'")

    told = ada.ask("erase", all=True)

    assert told.json()["receipt"]["count"] == 1
    assert shelf.path(foreign).read_bytes() == shelf.sealed[foreign.clip]
    assert ("erase", "not-hers") in {(row["op"], row["outcome"]) for row in bob.rows()}


def test_erase_of_a_time_reaches_what_is_still_under_way(
    ada: "Person", shelf: "Shelf", store: "FileStore", holdings: ArchiveContext
) -> None:
    first = shelf.put(t="2026-11-21T08:00:00.000Z")
    later = shelf.put(t="2026-11-22T08:00:00.000Z")

    fields = {"from": "2026-11-21T00:00:00.000Z", "until": "2026-11-22T00:00:00.000Z"}
    said = receipt_of(ada.ask("erase", **fields), holdings)

    assert said.clips == (first.clip,)
    assert [one.clip for one in store.clips()] == [later.clip]
    late = shelf.household.header(900, "ada", t="2026-11-21T09:00:00.000Z")
    assert store.orders.is_refused(late)
    assert not store.orders.is_refused(shelf.household.header(901, "bob", t=late.t))
    assert not store.orders.is_refused(shelf.household.header(902, "ada", t=later.t))


def test_retention_is_hers_and_only_shortens(
    ada: "Person", shelf: "Shelf", store: "FileStore"
) -> None:
    shelf.put(ttl_s=30 * 86_400)
    shelf.put("bob", ttl_s=30 * 86_400)
    assert ada.ask("retention").json()["days"] is None

    assert ada.ask("retention", days=7).json()["days"] == 7

    eight_days_on_s = 1_795_334_400 + 8 * 86_400
    assert store.expire(eight_days_on_s) == 1
    assert [one.owner for one in store.clips()] == ["bob"]
    ada.ask("retention", days=3650)
    shelf.put(ttl_s=86_400)
    assert store.expire(1_795_334_400 + 86_400) == 1


def test_the_log_is_a_chain_that_all_can_check_and_each_can_read_her_part(
    ada: "Person", bob: "Person", holdings: ArchiveContext
) -> None:
    for _ in range(3):
        ada.ask("list")
        bob.ask("keys")

    told = ada.ask("log", limit=4).json()
    more = ada.ask("log", after=told["next"]).json()

    rows = [hash_chain.parse_row(row) for row in told["rows"] + more["rows"]]
    head = receipts.parse_head(json.dumps(more["head"]).encode(), holdings.key.public_key())
    assert hash_chain.verify_chain(rows, [head.unsigned()]).n == 8
    assert {row.body.owner for row in rows if row.body} == {"ada"}
    assert sum(row.body is None for row in rows) == 3
    assert ada.ask("log", after=999).status_code == 409


def test_a_new_key_needs_both_and_the_old_one_is_retired(
    ada: "Person", shelf: "Shelf", household: "Household"
) -> None:
    header = shelf.put()
    fresh = pyrage.x25519.Identity.generate()
    told = ada.request("new-key", recipient=str(fresh.to_public())).json()
    alone = ada.answer(told["ticket"], ada.read(told["challenge"]))
    assert alone.status_code == 403

    told = ada.request("new-key", recipient=str(fresh.to_public())).json()
    both = ada.read(told["challenge"]) + ada.read(told["new_challenge"], str(fresh))
    changed = ada.answer(told["ticket"], both).json()

    assert changed["active"] == keys.owner_id(str(fresh.to_public()))
    assert changed["retired"] == [header.okey]
    old_key = ada.request("list").json()
    with pytest.raises(pyrage.DecryptError):
        ada.read(old_key["challenge"])
    ada.identity = str(fresh)
    assert ada.ask("play", clip=header.clip).content == shelf.sealed[header.clip]
    taken = ada.request("new-key", recipient=household.recipient("bob")).json()
    both = ada.read(taken["challenge"]) + ada.read(
        taken["new_challenge"], household.identities["bob"]
    )
    assert ada.answer(taken["ticket"], both).status_code == 409


def test_a_new_key_is_carried_to_the_speakers_as_it_was_said(
    ada: "Person", store: "FileStore", household: "Household"
) -> None:
    fresh = pyrage.x25519.Identity.generate()
    code = base64.b64encode(bytes(32)).decode()
    proofs = [{"device": name, "old": code, "new": code} for name in ("hall", "nowhere")]
    told = ada.request("new-key", recipient=str(fresh.to_public()), proofs=proofs).json()
    both = ada.read(told["challenge"]) + ada.read(told["new_challenge"], str(fresh))
    before = household.home.roster().known_owner("ada").okey

    changed = ada.answer(told["ticket"], both).json()

    assert changed["sealed_to"] == {"hall": None}
    (said,) = store.orders.pending_keys()["hall"]
    assert json.loads(said) == {
        "v": 1,
        "owner": "ada",
        "device": "hall",
        "old": before,
        "new": str(fresh.to_public()),
        "old_proof": code,
        "new_proof": code,
    }
    assert store.orders.pending_keys().keys() == {"hall"}


def test_nothing_is_carried_for_a_change_that_was_not_proven(
    ada: "Person", store: "FileStore"
) -> None:
    code = base64.b64encode(bytes(32)).decode()
    fields = {"proofs": [{"device": "hall", "old": code, "new": code}]}
    fresh = pyrage.x25519.Identity.generate()
    told = ada.request("new-key", recipient=str(fresh.to_public()), **fields).json()
    assert ada.answer(told["ticket"], ada.read(told["challenge"])).status_code == 403
    twice = ada.request("new-key", recipient=str(fresh.to_public()), proofs=fields["proofs"] * 2)
    assert twice.status_code == 422

    assert store.orders.pending_keys() == {}


def test_keys_say_to_which_one_each_speaker_seals(
    ada: "Person", bob: "Person", shelf: "Shelf", store: "FileStore"
) -> None:
    first = shelf.put()
    others = shelf.put("bob", t="2026-11-23T08:00:00.000Z")

    assert ada.ask("keys").json()["sealed_to"] == {"hall": first.okey}
    assert bob.ask("keys").json()["sealed_to"] == {"hall": others.okey}
    cross(store, "owner = 'ada'")
    assert ada.ask("keys").json()["sealed_to"] == {"hall": None}


def test_a_ticket_is_good_once_for_five_minutes(ada: "Person", clock: "FakeClock") -> None:
    told = ada.request("list").json()
    answer = ada.read(told["challenge"])
    assert answer.startswith(f"ada:list:{told['request_sha256'][:16]}:")
    assert ada.answer(told["ticket"], answer).status_code == 200
    assert ada.answer(told["ticket"], answer).json()["error"] == "ticket"

    late = ada.request("list").json()
    clock.now_s += 300
    assert ada.answer(late["ticket"], ada.read(late["challenge"])).status_code == 404

    wrong = ada.request("list").json()
    assert ada.answer(wrong["ticket"], "ada:list:0:0").json()["error"] == "proof"
    assert ada.answer(wrong["ticket"], ada.read(wrong["challenge"])).status_code == 404


def test_crossed_answers_open_nothing_and_both_read_it(
    ada: "Person", bob: "Person", shelf: "Shelf"
) -> None:
    shelf.put()
    shelf.put("bob")
    one, other = ada.request("export").json(), bob.request("export").json()

    said = ada.answer(one["ticket"], bob.read(other["challenge"]))

    assert said.status_code == 403
    assert bob.answer(other["ticket"], bob.read(other["challenge"])).status_code == 404
    for person in (ada, bob):
        assert [row["outcome"] for row in person.rows() if row["op"] == "export"] == ["crossed"]


def test_a_flood_of_wrong_answers_does_not_grow_the_log(ada: "Person") -> None:
    for _ in range(330):
        ada.answer(ada.request("list").json()["ticket"], "wrong")

    rows = [row for row in ada.rows() if row["outcome"] == "refused"]
    assert len(rows) == 23
    assert sum(row["count"] for row in rows) == 320


def test_open_tickets_are_bounded_and_one_owner_cannot_crowd_out_another(
    ada: "Person", bob: "Person"
) -> None:
    first = bob.request("list").json()
    for _ in range(300):
        ada.request("list")

    assert bob.answer(first["ticket"], bob.read(first["challenge"])).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 10_000,
        b'{"owner":"ada"}',
        b'{"owner":"../ada","request":{"op":"list"}}',
        b'{"owner":"ada","request":{"op":"share","to":"bob"}}',
        b'{"owner":"ada","request":{"op":"export","recipient":"bob"}}',
        b'{"owner":"ada","request":{"op":"export","to":"age1..."}}',
        b'{"owner":"ada","request":{"op":"play","clip":"../../etc/passwd"}}',
        b'{"owner":"ada","request":{"op":"erase"}}',
        b'{"owner":"ada","request":{"op":"erase","all":true,"from":"2026-11-22T08:00:00.000Z"}}',
        b'{"owner":"ada","request":{"op":"erase","all":false}}',
        b'{"owner":"ada","request":{"op":"list","day":"2026-13-01"}}',
        b'{"owner":"ada","request":{"op":"list","limit":100000}}',
        b'{"owner":"ada","request":{"op":"list","from":"2026-02-30T08:00:00.000Z"}}',
        b'{"owner":"ada","request":{"op":"retention","days":0}}',
        b'{"owner":"ada","request":{"op":"new-key","recipient":"age1' + b"q" * 58 + b'"}}',
    ],
)
def test_what_is_no_request_is_told_so(client: "TestClient", body: bytes) -> None:
    response = client.post(
        "/v1/tickets", content=body, headers={"content-type": "application/json"}
    )

    assert (response.status_code, response.json()["error"]) == (422, "request")


def test_limits_are_told(client: "TestClient", ada: "Person") -> None:
    json_type = {"content-type": "application/json"}
    assert client.post("/v1/tickets", content=b"x" * 17_000, headers=json_type).status_code == 413
    assert client.post("/v1/tickets", content=b"{}").status_code == 415
    wrong = client.get("/v1/tickets")
    assert (wrong.json()["error"], wrong.headers["allow"]) == ("method", "POST")
    assert client.get("/").json()["error"] == "path"
    assert client.post("/v1/tickets/x", content=b"y" * 600).status_code == 413
    assert client.get("/v1/archive", headers={"x": "y" * 17_000}).status_code == 431
    ada.name = "nobody"
    assert ada.request("list").json()["error"] == "owner"


def test_everyone_near_reads_the_signed_head(
    client: "TestClient", holdings: ArchiveContext
) -> None:
    told = client.get("/v1/archive").json()

    assert told["archive"] == holdings.name
    head = json.dumps(told["head"]).encode()
    assert receipts.parse_head(head, holdings.key.public_key()).n == 0
    with pytest.raises(receipts.BadSignature):
        receipts.parse_head(head, Ed25519PrivateKey.generate().public_key())


def test_stock_age_answers_the_challenge(ada: "Person", shelf: "Shelf", tmp_path: Path) -> None:
    shelf.put()
    key = tmp_path / "ada.key"
    key.write_text(ada.identity + "\n", "utf-8")
    told = ada.request("list").json()

    read = subprocess.run(
        ["age", "-d", "-i", str(key)],
        input=told["challenge"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(ada.answer(told["ticket"], read.stdout).json()["clips"]) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    body=st.binary(max_size=300),
)
def test_any_request_gets_an_answer_that_is_no_crash(
    client: "TestClient", method: str, path: str, body: bytes
) -> None:
    for where in (f"/v1/tickets/{path}".replace("#", "").replace("?", ""), "/v1/tickets"):
        headers = {"content-type": "application/json"}
        response = client.request(method, where, content=body, headers=headers)
        assert response.status_code < 500
        assert response.status_code >= 400


class Asker:
    """Takes what is sent, until it has enough."""

    def __init__(self, enough: int = 100) -> None:
        self.taken: list[Message] = []
        self._enough = enough
        self._gone = asyncio.Event()

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.taken.append(message)
        if len(self.taken) == self._enough:
            self._gone.set()

    def ask(self, flow: ChunkedResponse) -> bytes:
        asyncio.run(flow({"type": "http"}, self.receive, self.send))
        return b"".join(one.get("body", b"") for one in self.taken)


class Made:
    """Pieces, and whether whoever makes them was let go."""

    def __init__(self, error: EarmarkError | None = None, count: int = 3) -> None:
        self.closed = False
        self._error = error
        self._count = count

    def pieces(self) -> Generator[bytes, None, None]:
        try:
            for _ in range(self._count):
                yield b"piece "
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (ClipNotFound("there is no such clip"), 404, "clip"),
        (WrongOwner("another's", "bob", ("one",)), 409, "not-hers"),
        (Unavailable("the disk is full"), 503, "unavailable"),
        (EarmarkError("this key counts already"), 409, "key"),
    ],
)
def test_each_failure_has_its_status_and_its_word(
    error: EarmarkError, status: int, word: str
) -> None:
    response = failure_response(Request({"type": "http"}), error)

    told: dict[str, Any] = msgspec.json.decode(response.body)
    assert (response.status_code, told["error"]) == (status, word)
    assert word in schema.ERRORS[status]
    assert "bob" not in str(told)
    assert response.headers["cache-control"] == "no-store"


def test_what_the_disk_said_is_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    response = failure_response(Request({"type": "http"}), Unavailable("/secret/place is full"))

    assert b"/secret/place" not in response.body
    assert "/secret/place" in caplog.text


def test_a_flow_is_sent_to_its_end() -> None:
    asker, made = Asker(), Made()

    assert asker.ask(ChunkedResponse(made.pieces())) == b"piece " * 3

    assert asker.taken[-1]["more_body"] is False
    assert made.closed


def test_a_flow_that_breaks_off_has_no_end(caplog: pytest.LogCaptureFixture) -> None:
    asker, made = Asker(), Made(Unavailable("the disk is gone"))

    asker.ask(ChunkedResponse(made.pieces()))

    assert asker.taken[-1]["more_body"] is True
    assert "broken off: the disk is gone" in caplog.text
    assert made.closed


def test_nothing_is_made_for_whoever_has_gone() -> None:
    asker, made = Asker(enough=4), Made(count=100_000)

    asker.ask(ChunkedResponse(made.pieces()))

    assert asker.taken[-1]["more_body"] is True
    assert made.closed


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("192.168.1.7", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("/home/archive.sock", True),
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("::ffff:8.8.8.8", False),
        ("example.org", False),
    ],
)
def test_who_is_near(address: str, *, near: bool) -> None:
    assert is_private_address(address) is near


def test_strangers_are_refused_before_anything_is_read(
    holdings: "ArchiveContext", clock: "FakeClock"
) -> None:
    app = Api(holdings, RequestChallenges(clock), Operations(holdings, clock)).app()
    with TestClient(app, client=("8.8.8.8", 1)) as far:
        assert far.get("/v1/archive").status_code == 403
