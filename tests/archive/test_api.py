"""The HTTP API: operations, error responses, streaming, and the private-network filter."""

import asyncio
import base64
import dataclasses
import errno
import hashlib
import io
import json
import os
import subprocess
import uuid
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from listener.archive import api, files, schema
from listener.archive.api import Api, ChunkedResponse, failure_response, is_private_address
from listener.archive.challenges import KeyReplaced, RequestChallenge, RequestChallenges
from listener.archive.context import ArchiveContext
from listener.archive.elapsed_time import ArchiveTime
from listener.archive.operations import Operations, ZipStream
from listener.archive.verified_access import ClipNotFound, WrongOwner
from listener.envelope import keys
from listener.errors import EarmarkError, Unavailable
from listener.owner.roster import Roster
from listener.rights import hash_chain, receipts, requests
from tests.archive.stored_clips import REPLACEMENTS, replace_file
from tests.archive.tampering import update_rows

NOON_S = 1_795_348_800

if TYPE_CHECKING:
    from httpx2 import Response

    from listener.archive.store import FileStore
    from tests.archive.conftest import ClipFactory, FakeClock, OwnerClient
    from tests.conftest import Household


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def receipt_of(response: "Response", context: ArchiveContext) -> receipts.Receipt:
    return receipts.parse_receipt(response.content, context.key.public_key())


def test_list_returns_only_the_owners_clips(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    own = [clip_factory.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (1, 2)]
    clip_factory.put("bob")

    reply = ada.request("list").json()

    assert [entry["clip"] for entry in reply["clips"]] == [entry.clip for entry in own]
    assert reply["next"] is None
    assert reply["clips"][0]["expires"] > reply["clips"][0]["received"] - 2 * 86_400
    assert len(bob.request("list").json()["clips"]) == 1


def test_list_filters_by_day_and_device_and_pages(
    ada: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    headers = [clip_factory.put(t=f"2026-11-21T08:00:0{second}.000Z") for second in range(5)]
    clip_factory.put(t="2026-11-22T00:00:00.000Z")

    first = ada.request("list", day="2026-11-21", device="hall", limit=3).json()
    rest = ada.request("list", day="2026-11-21", device="hall", after=first["next"]).json()

    assert [entry["clip"] for entry in first["clips"] + rest["clips"]] == [
        entry.clip for entry in headers
    ]
    assert ada.request("list", device="kitchen").json()["clips"] == []


def test_list_omits_rows_of_other_owners_despite_the_index(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore"
) -> None:
    own = [clip_factory.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (1, 3)]
    others = [clip_factory.put("bob", t=f"2026-11-2{day}T09:00:00.000Z") for day in (1, 2, 4)]
    update_rows(store, "owner = 'ada'")

    first = ada.request("list", limit=1)
    rest = ada.request("list", after=first.json()["next"])

    shown = [entry["clip"] for entry in first.json()["clips"] + rest.json()["clips"]]
    assert shown == [entry.clip for entry in own]
    assert not any(entry.clip in first.text + rest.text for entry in others)
    for person in (ada, bob):
        rows = [row for row in person.log_rows() if row["outcome"] == "not-hers"]
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
def test_changed_row_is_listed_with_the_values_of_its_file(
    ada: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore", what: str
) -> None:
    header = clip_factory.put()
    expected = ada.request("list").json()["clips"]
    update_rows(store, what)

    reply = ada.request("list").json()["clips"]

    assert [{**entry, "received": 0, "expires": 0} for entry in reply] == [
        {**entry, "received": 0, "expires": 0} for entry in expected
    ]
    assert reply[0]["expires"] > reply[0]["received"]
    assert [entry.clip for entry in store.clips("ada")] == [header.clip]
    assert all(has_valid_mac for _, has_valid_mac in store.page_with_mac_check("ada", ("", "A")))


def test_changed_row_is_not_listed_outside_its_files_time(
    ada: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore"
) -> None:
    clip_factory.put(t="2026-11-21T08:00:00.000Z")
    update_rows(store, "t = '2026-11-22T08:00:00.000Z'")

    assert ada.request("list", day="2026-11-22").json()["clips"] == []
    assert len(ada.request("list", day="2026-11-21").json()["clips"]) == 1


def test_row_without_file_and_valid_mac_is_not_listed(
    ada: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore"
) -> None:
    header = clip_factory.put()
    clip_factory.path(header).unlink()
    assert len(ada.request("list").json()["clips"]) == 1  # the row still has a valid MAC

    update_rows(store, "ttl_s = 1")

    assert ada.request("list").json()["clips"] == []


def test_play_returns_the_stored_envelope(ada: "OwnerClient", clip_factory: "ClipFactory") -> None:
    header = clip_factory.put()

    response = ada.request("play", clip=header.clip)

    assert response.content == clip_factory.sealed[header.clip]
    assert response.headers["content-type"] == "application/vnd.earmark.envelope"
    assert response.headers["cache-control"] == "no-store"


def test_clip_of_another_owner_is_answered_like_an_unknown_one(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory", context: ArchiveContext
) -> None:
    stored, erased = clip_factory.put("bob"), clip_factory.put("bob")
    bob.request("erase", clips=[erased.clip])
    unknown = str(uuid.uuid4())
    answers, growths = [], []
    for clip in (stored.clip, erased.clip, unknown):
        before = context.log.head().n
        played = ada.request("play", clip=clip)
        receipt = ada.request("erase", clips=[clip]).json()["receipt"]
        answers.append((played.status_code, played.text, receipt["count"], receipt["clips"]))
        growths.append(context.log.head().n - before)

    assert len(set(map(str, answers))) == 1, answers
    assert answers[0][0] == 404
    assert growths == [2, 2, 2]
    assert clip_factory.path(stored).exists()
    assert not [row for row in ada.log_rows() if "bob" in (row["owner"], row["other"])]
    reported = [row for row in bob.log_rows() if row["outcome"] == "not-hers"]
    assert [(row["op"], row["owner"], row["other"], row["count"]) for row in reported] == [
        ("play", "bob", "ada", 2)
    ]
    assert not [row for row in ada.log_rows() if "bob" in (row["owner"], row["other"])]


def test_file_of_another_owner_in_the_owners_folder_is_reported_to_both(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    header = clip_factory.put("bob")
    clip_factory.put("ada")
    clip_factory.path(header).rename(clip_factory.store.path("ada", header.clip))

    response = ada.request("play", clip=header.clip)

    assert (response.status_code, response.json()["error"]) == (409, "not-hers")
    for person in (ada, bob):
        (row,) = [row for row in person.log_rows() if row["op"] == "play"]
        assert (row["outcome"], row["owner"], row["other"]) == ("not-hers", "ada", "bob")


def test_export_contains_clips_manifest_log_and_receipt(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory", context: ArchiveContext
) -> None:
    stored = {clip_factory.put().clip for _ in range(3)}
    clip_factory.put("bob")
    bob.request("list")

    entries = unzipped(ada.request("export").content)

    clips = {name: data for name, data in entries.items() if name.startswith("clips/")}
    assert {Path(name).stem for name in clips} == stored
    manifest = [json.loads(line) for line in entries["manifest.jsonl"].splitlines()]
    for line in manifest:
        data = clips[f"clips/{line['clip']}.earmark"]
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
    receipt = receipts.parse_receipt(entries["receipt.json"], context.key.public_key())
    assert (receipt.kind, receipt.count) == ("export", 3)
    assert receipt.manifest_sha256 == hashlib.sha256(entries["manifest.jsonl"]).hexdigest()
    rows = [
        hash_chain.parse_row(json.loads(line)) for line in entries["access-log.jsonl"].splitlines()
    ]
    assert hash_chain.verify_chain(rows, [receipt.head]) == receipt.head
    assert [row.body.owner for row in rows if row.body] == ["ada"]
    assert json.loads(entries["devices.json"]).keys() == {"hall"}
    assert b"age -d" in entries["READ-ME-FIRST.html"]


def test_export_with_the_log_after_a_head(
    ada: "OwnerClient", clip_factory: "ClipFactory", context: ArchiveContext
) -> None:
    clip_factory.put()
    whole = unzipped(ada.request("export").content)
    key = context.key.public_key()
    earlier = receipts.parse_receipt(whole["receipt.json"], key).head
    ada.request("keys")

    later = unzipped(ada.request("export", log_after=msgspec.to_builtins(earlier)).content)

    start, *lines = [json.loads(line) for line in later["access-log.jsonl"].splitlines()]
    assert hash_chain.parse_start(start) == earlier
    rows = [hash_chain.parse_row(line) for line in lines]
    assert [row.body.op for row in rows if row.body] == ["keys", "export"]
    end = receipts.parse_receipt(later["receipt.json"], key).head
    assert hash_chain.verify_chain(rows, [earlier, end], before=earlier) == end
    from_start = {"n": 0, "hash": hash_chain.ORIGIN}
    again = unzipped(ada.request("export", log_after=from_start).content)
    assert again["access-log.jsonl"].startswith(whole["access-log.jsonl"])
    for wrong in ({"n": earlier.n, "hash": "0" * 64}, {"n": 9999, "hash": earlier.hash}):
        refused = ada.request("export", log_after=wrong)
        assert refused.status_code == 409
        assert "does not contain the head" in refused.json()["message"]


def test_export_of_a_time_range(ada: "OwnerClient", clip_factory: "ClipFactory") -> None:
    clip_factory.put(t="2026-11-21T08:00:00.000Z")
    second = clip_factory.put(t="2026-11-22T08:00:00.000Z")

    fields = {"from": "2026-11-22T00:00:00.000Z", "device": "hall"}
    entries = unzipped(ada.request("export", **fields).content)

    assert [name for name in entries if name.startswith("clips/")] == [
        f"clips/{second.clip}.earmark"
    ]


def test_foreign_file_stops_an_export_and_is_logged_for_both(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    clip_factory.put()
    foreign = clip_factory.put("bob")
    clip_factory.path(foreign).rename(clip_factory.store.path("ada", foreign.clip))

    reply = ada.request("export", until="2000-01-01T00:00:00.000Z")

    assert (reply.status_code, reply.json()["error"]) == (409, "not-hers")
    assert reply.json()["clips"] == [foreign.clip]
    assert foreign.clip in reply.json()["message"]
    assert "bob" not in reply.text
    for person in (ada, bob):
        (row,) = [row for row in person.log_rows() if row["op"] == "export"]
        assert (row["outcome"], row["owner"], row["other"]) == ("not-hers", "ada", "bob")


def test_export_error_counts_wrong_files_and_names_the_first(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    for number in range(30):
        header = clip_factory.put("bob" if number % 3 else "ada")
        path = clip_factory.store.path("ada", header.clip)
        if number % 3:
            clip_factory.path(header).rename(path)
        else:
            path.write_bytes(b"rotten")

    reply = ada.request("export").json()

    assert reply["message"].startswith("a stored file does not verify as yours: 30 files")
    assert len(reply["clips"]) == 20
    rows = {row["other"]: row["count"] for row in ada.log_rows() if row["op"] == "export"}
    assert rows == {"bob": 20, None: 10}
    assert [row["count"] for row in bob.log_rows() if row["op"] == "export"] == [20]


def test_file_swapped_during_an_export_truncates_the_zip(
    bob: "OwnerClient", clip_factory: "ClipFactory", context: ArchiveContext
) -> None:
    for _ in range(3):
        clip_factory.put()
    foreign = clip_factory.put("bob")
    ticket = RequestChallenge(
        "ada", context.roster().known_owner("ada").okey, requests.ExportRequest(), "0" * 64
    )
    stream = Operations(context).execute(ticket)
    assert isinstance(stream, ZipStream)
    sent = next(stream.pieces)
    clip_factory.path(foreign).rename(clip_factory.store.path("ada", foreign.clip))

    rest = io.BytesIO()
    with pytest.raises(WrongOwner):
        rest.writelines(stream.pieces)

    sent += rest.getvalue()
    assert clip_factory.sealed[foreign.clip] not in sent
    with pytest.raises(zipfile.BadZipFile):
        unzipped(sent)
    assert [(row["op"], row["outcome"]) for row in bob.log_rows()][:1] == [("export", "not-hers")]


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOMEM])
def test_disk_error_during_export_check_is_logged_as_failed(
    ada: "OwnerClient",
    clip_factory: "ClipFactory",
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    clip_factory.put()

    def fail(_: Path) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "read_envelope_file", fail)

    assert ada.request("export").status_code == 503
    assert [row["outcome"] for row in ada.log_rows() if row["op"] == "export"] == ["failed"]


def test_damaged_file_is_left_out_of_an_export_and_can_be_erased(
    ada: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    header, good = clip_factory.put(), clip_factory.put()
    clip_factory.path(header).write_bytes(b"rotten")

    entries = unzipped(ada.request("export").content)

    assert [name for name in entries if name.startswith("clips/")] == [f"clips/{good.clip}.earmark"]
    assert json.loads(entries["receipt.json"])["receipt"]["count"] == 1
    (line,) = map(json.loads, entries["left-out.jsonl"].splitlines())
    assert line["clip"] == header.clip
    assert b"rotten" not in b"".join(entries.values())
    rows = [(row["outcome"], row["count"]) for row in ada.log_rows() if row["op"] == "export"]
    assert rows == [("not-hers", 1), ("done", 1)]
    assert ada.request("erase", clips=[header.clip]).json()["receipt"]["clips"] == [header.clip]

    assert not clip_factory.path(header).exists()
    assert "left-out.jsonl" not in unzipped(ada.request("export").content)


@pytest.mark.parametrize("kind", REPLACEMENTS)
def test_file_that_is_not_regular_keeps_no_other_clip_from_its_owner(
    ada: "OwnerClient", clip_factory: "ClipFactory", kind: str
) -> None:
    odd, good = clip_factory.put(), clip_factory.put()
    replace_file(clip_factory.path(odd), kind)

    entries = unzipped(ada.request("export").content)
    assert f"clips/{good.clip}.earmark" in entries
    assert json.loads(entries["left-out.jsonl"])["clip"] == odd.clip
    assert ada.request("play", clip=odd.clip).status_code == 409

    receipt = ada.request("erase", all=True).json()["receipt"]

    assert set(receipt["clips"]) == {odd.clip, good.clip}
    assert os.path.lexists(clip_factory.path(odd)) == (kind == "folder")
    assert not clip_factory.path(good).exists()


def test_file_damaged_during_an_export_is_left_out_and_logged(
    ada: "OwnerClient", clip_factory: "ClipFactory", context: ArchiveContext
) -> None:
    headers = [clip_factory.put() for _ in range(3)]
    ticket = RequestChallenge(
        "ada", context.roster().known_owner("ada").okey, requests.ExportRequest(), "0" * 64
    )
    stream = Operations(context).execute(ticket)
    assert isinstance(stream, ZipStream)
    sent = next(stream.pieces)
    for header in headers:
        clip_factory.path(header).write_bytes(b"rotten")

    entries = unzipped(sent + b"".join(stream.pieces))

    assert {json.loads(line)["clip"] for line in entries["left-out.jsonl"].splitlines()} == {
        header.clip for header in headers
    }
    rows = [(row["outcome"], row["count"]) for row in ada.log_rows() if row["op"] == "export"]
    assert rows == [("not-hers", 3), ("done", 0)]


def test_erase_receipt_names_clips_and_they_stay_erased(
    ada: "OwnerClient", clip_factory: "ClipFactory", context: ArchiveContext, store: "FileStore"
) -> None:
    erased, kept = clip_factory.put(), clip_factory.put()

    receipt = receipt_of(ada.request("erase", clips=[erased.clip, erased.clip]), context)

    assert receipt.clips == (erased.clip,)
    assert [entry.clip for entry in store.clips("ada")] == [kept.clip]
    assert not clip_factory.path(erased).exists()
    assert (
        next(iter(context.erased_clips)).sha256
        == hashlib.sha256(clip_factory.sealed[erased.clip]).hexdigest()
    )
    assert ada.request("play", clip=erased.clip).status_code == 404
    assert receipt.head.n == context.log.head().n - 1


def test_erase_keeps_other_owners_clips(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore"
) -> None:
    foreign = clip_factory.put("bob")
    clip_factory.put()
    update_rows(store, "owner = 'ada'")

    reply = ada.request("erase", all=True)

    assert reply.json()["receipt"]["count"] == 1
    assert clip_factory.path(foreign).read_bytes() == clip_factory.sealed[foreign.clip]
    assert ("erase", "not-hers") in {(row["op"], row["outcome"]) for row in bob.log_rows()}


def test_erase_of_a_range_refuses_clips_in_transit(
    ada: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore", context: ArchiveContext
) -> None:
    first = clip_factory.put(t="2026-11-21T08:00:00.000Z")
    later = clip_factory.put(t="2026-11-22T08:00:00.000Z")

    fields = {"from": "2026-11-21T00:00:00.000Z", "until": "2026-11-22T00:00:00.000Z"}
    receipt = receipt_of(ada.request("erase", **fields), context)

    assert receipt.clips == (first.clip,)
    assert [entry.clip for entry in store.clips()] == [later.clip]
    household, state = clip_factory.household, store.owner_state
    late = household.header(1, "ada", t="2026-11-21T09:00:00.000Z")
    assert state.is_refused(late)
    assert not state.is_refused(household.header(1, "bob", t=late.t))
    assert not state.is_refused(household.header(2, "ada", t=later.t))
    # Not accepted before the order: the speaker's running time must show that it was made before.
    hour_on = context.time()
    hour_on = ArchiveTime(hour_on.accepted_s + 3600, hour_on.lived_s + 3600, hour_on.wall_s + 3600)
    spooled = household.header(900, "ada", t=late.t)
    assert state.is_refused(spooled, 3601, hour_on)
    assert not state.is_refused(spooled, 3599, hour_on)
    assert not state.is_refused(household.header(900, "ada", t=later.t), 3601, hour_on)


def test_retention_limit_is_per_owner_and_only_shortens(
    ada: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore"
) -> None:
    clip_factory.put(ttl_s=30 * 86_400)
    clip_factory.put("bob", ttl_s=30 * 86_400)
    assert ada.request("retention").json()["days"] is None

    assert ada.request("retention", days=7).json()["days"] == 7

    eight_days_on_s = NOON_S + 8 * 86_400
    assert store.expire(eight_days_on_s) == 1
    assert [entry.owner for entry in store.clips()] == ["bob"]
    ada.request("retention", days=3650)
    clip_factory.put(ttl_s=86_400)
    assert store.expire(NOON_S + 86_400) == 1


def test_log_chain_verifies_with_others_rows_blinded(
    ada: "OwnerClient", bob: "OwnerClient", context: ArchiveContext
) -> None:
    for _ in range(3):
        ada.request("list")
        bob.request("keys")

    reply = ada.request("log", limit=4).json()
    more = ada.request("log", after=reply["next"]).json()

    rows = [hash_chain.parse_row(row) for row in reply["rows"] + more["rows"]]
    head = receipts.parse_head(json.dumps(more["head"]).encode(), context.key.public_key())
    assert hash_chain.verify_chain(rows, [head.unsigned()]).n == 8
    assert {row.body.owner for row in rows if row.body} == {"ada"}
    assert sum(row.body is None for row in rows) == 3
    assert ada.request("log", after=999).status_code == 409


def test_new_key_needs_both_proofs_and_retires_the_old_key(
    ada: "OwnerClient", clip_factory: "ClipFactory", household: "Household"
) -> None:
    header = clip_factory.put()
    fresh = pyrage.x25519.Identity.generate()
    reply = ada.request_ticket("new-key", recipient=str(fresh.to_public())).json()
    alone = ada.answer(reply["ticket"], ada.decrypt(reply["challenge"]))
    assert alone.status_code == 403

    reply = ada.request_ticket("new-key", recipient=str(fresh.to_public())).json()
    both = ada.decrypt(reply["challenge"]) + ada.decrypt(reply["new_challenge"], str(fresh))
    changed = ada.answer(reply["ticket"], both).json()

    assert changed["active"] == keys.owner_id(str(fresh.to_public()))
    assert changed["retired"] == [header.okey]
    old_key = ada.request_ticket("list").json()
    with pytest.raises(pyrage.DecryptError):
        ada.decrypt(old_key["challenge"])
    ada.identity = str(fresh)
    assert ada.request("play", clip=header.clip).content == clip_factory.sealed[header.clip]
    taken = ada.request_ticket("new-key", recipient=household.recipient("bob")).json()
    both = ada.decrypt(taken["challenge"]) + ada.decrypt(
        taken["new_challenge"], household.identities["bob"]
    )
    assert ada.answer(taken["ticket"], both).status_code == 409


def test_new_key_proofs_are_stored_for_the_speakers(
    ada: "OwnerClient", store: "FileStore", household: "Household"
) -> None:
    fresh = pyrage.x25519.Identity.generate()
    code = base64.b64encode(bytes(32)).decode()
    proofs = [{"device": name, "old": code, "new": code} for name in ("hall", "nowhere")]
    reply = ada.request_ticket("new-key", recipient=str(fresh.to_public()), proofs=proofs).json()
    both = ada.decrypt(reply["challenge"]) + ada.decrypt(reply["new_challenge"], str(fresh))
    before = household.home.roster().known_owner("ada").okey

    changed = ada.answer(reply["ticket"], both).json()

    assert changed["sealed_to"] == {"hall": None}
    assert changed["forwarded"] == ["hall"]
    (message,) = store.owner_state.pending_keys()["hall"]
    assert json.loads(message.text) == {
        "v": 1,
        "owner": "ada",
        "device": "hall",
        "old": before,
        "new": str(fresh.to_public()),
        "old_proof": code,
        "new_proof": code,
    }
    assert store.owner_state.pending_keys().keys() == {"hall"}


def test_unproven_key_rotation_stores_no_proofs(ada: "OwnerClient", store: "FileStore") -> None:
    code = base64.b64encode(bytes(32)).decode()
    fields = {"proofs": [{"device": "hall", "old": code, "new": code}]}
    fresh = pyrage.x25519.Identity.generate()
    reply = ada.request_ticket("new-key", recipient=str(fresh.to_public()), **fields).json()
    assert ada.answer(reply["ticket"], ada.decrypt(reply["challenge"])).status_code == 403
    twice = ada.request_ticket(
        "new-key", recipient=str(fresh.to_public()), proofs=fields["proofs"] * 2
    )
    assert twice.status_code == 422

    assert store.owner_state.pending_keys() == {}


def test_keys_report_the_key_each_speaker_seals_to(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory", store: "FileStore"
) -> None:
    first = clip_factory.put()
    others = clip_factory.put("bob", t="2026-11-23T08:00:00.000Z")

    assert ada.request("keys").json()["sealed_to"] == {"hall": first.okey}
    assert bob.request("keys").json()["sealed_to"] == {"hall": others.okey}
    update_rows(store, "owner = 'ada'")
    assert ada.request("keys").json()["sealed_to"] == {"hall": None}


def test_ticket_is_valid_once_and_for_five_minutes(ada: "OwnerClient", clock: "FakeClock") -> None:
    reply = ada.request_ticket("list").json()
    answer = ada.decrypt(reply["challenge"])
    assert answer.startswith(f"ada:list:{reply['request_sha256'][:16]}:")
    assert ada.answer(reply["ticket"], answer).status_code == 200
    assert ada.answer(reply["ticket"], answer).json()["error"] == "ticket"

    late = ada.request_ticket("list").json()
    clock.now_s += 300
    assert ada.answer(late["ticket"], ada.decrypt(late["challenge"])).status_code == 404

    wrong = ada.request_ticket("list").json()
    assert ada.answer(wrong["ticket"], "ada:list:0:0").json()["error"] == "proof"
    assert ada.answer(wrong["ticket"], ada.decrypt(wrong["challenge"])).status_code == 404


def test_crossed_answers_are_refused_and_logged_for_both(
    ada: "OwnerClient", bob: "OwnerClient", clip_factory: "ClipFactory"
) -> None:
    clip_factory.put()
    clip_factory.put("bob")
    first, second = ada.request_ticket("export").json(), bob.request_ticket("export").json()

    response = ada.answer(first["ticket"], bob.decrypt(second["challenge"]))

    assert response.status_code == 403
    assert bob.answer(second["ticket"], bob.decrypt(second["challenge"])).status_code == 404
    for person in (ada, bob):
        assert [row["outcome"] for row in person.log_rows() if row["op"] == "export"] == ["crossed"]


def test_flood_of_wrong_answers_does_not_grow_the_log(ada: "OwnerClient") -> None:
    for _ in range(330):
        ada.answer(ada.request_ticket("list").json()["ticket"], "wrong")

    rows = [row for row in ada.log_rows() if row["outcome"] == "refused"]
    assert len(rows) == 23
    assert sum(row["count"] for row in rows) == 320


def test_ticket_limit_of_one_owner_spares_the_others(
    ada: "OwnerClient", bob: "OwnerClient"
) -> None:
    first = bob.request_ticket("list").json()
    for _ in range(300):
        ada.request_ticket("list")

    assert bob.answer(first["ticket"], bob.decrypt(first["challenge"])).status_code == 200


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
def test_malformed_request_is_refused_as_422(client: "TestClient", body: bytes) -> None:
    response = client.post(
        "/v1/tickets", content=body, headers={"content-type": "application/json"}
    )

    assert (response.status_code, response.json()["error"]) == (422, "request")


def test_limits_have_their_status(client: "TestClient", ada: "OwnerClient") -> None:
    json_type = {"content-type": "application/json"}
    assert client.post("/v1/tickets", content=b"x" * 17_000, headers=json_type).status_code == 413
    assert client.post("/v1/tickets", content=b"{}").status_code == 415
    wrong = client.get("/v1/tickets")
    assert (wrong.json()["error"], wrong.headers["allow"]) == ("method", "POST")
    assert client.get("/").json()["error"] == "path"
    assert client.post("/v1/tickets/x", content=b"y" * 600).status_code == 413
    assert client.get("/v1/archive", headers={"x": "y" * 17_000}).status_code == 431
    ada.name = "nobody"
    assert ada.request_ticket("list").json()["error"] == "owner"


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("POST", "/v1/tickets/", "path"),
        ("GET", "/v1/archive/", "path"),
        ("GET", "//evil.example/v1/archive", "path"),
        ("POST", "/v1/tickets/a/b", "path"),
        ("HEAD", "/v1/archive", "method"),
        ("OPTIONS", "/v1/tickets", "method"),
        ("PUT", "/v1/archive", "method"),
        ("TRACE", "/v1/tickets/x", "method"),
    ],
)
def test_other_paths_and_methods_are_refused_and_never_redirected(
    client: "TestClient", method: str, path: str, error: str
) -> None:
    response = client.request(
        method, f"http://evil.example{path}", content=b"x", follow_redirects=False
    )

    assert response.status_code == {"path": 404, "method": 405}[error]
    assert method == "HEAD" or response.json()["error"] == error
    assert "location" not in response.headers
    assert "evil" not in response.text


def test_unexpected_exception_is_answered_as_unavailable(
    context: ArchiveContext, clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Api) -> NoReturn:
        raise RuntimeError("a bug with ada's secret")

    monkeypatch.setattr(Api, "_issue_challenge", fail)
    app = Api(context, RequestChallenges(clock), Operations(context)).app()
    client = TestClient(app, client=("127.0.0.1", 1), raise_server_exceptions=False)

    response = client.post("/v1/tickets", json={})

    assert (response.status_code, response.json()["error"]) == (503, "unavailable")
    assert "ada" not in response.text


def test_client_without_accept_receives_a_short_ticket(
    client: "TestClient", ada: "OwnerClient"
) -> None:
    del client.headers["accept"]

    reply = ada.request_ticket("list").json()

    assert len(reply["ticket"]) == 22
    assert ada.answer(reply["ticket"], ada.decrypt(reply["challenge"])).status_code == 200
    assert ada.answer(reply["ticket"], ada.decrypt(reply["challenge"])).status_code == 404
    client.headers["accept"] = "*/*"
    assert len(ada.request_ticket("list").json()["ticket"]) > 64


def test_replaced_key_ends_every_ticket_that_was_issued_to_it(
    ada: "OwnerClient", clip_factory: "ClipFactory", household: "Household"
) -> None:
    header = clip_factory.put()
    thief = type(ada)(ada.client, ada.name, ada.identity)
    stolen = {
        op: thief.request_ticket(op, **fields).json()
        for op, fields in (
            ("list", {}),
            ("play", {"clip": header.clip}),
            ("export", {}),
            ("erase", {"all": True}),
            ("retention", {"days": 1}),
            ("log", {}),
            ("keys", {}),
        )
    }
    evil, fresh = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    takeover = thief.request_ticket("new-key", recipient=str(evil.to_public())).json()
    changed = ada.request_ticket("new-key", recipient=str(fresh.to_public())).json()
    both = ada.decrypt(changed["challenge"]) + ada.decrypt(changed["new_challenge"], str(fresh))
    assert ada.answer(changed["ticket"], both).status_code == 200

    for op, reply in stolen.items():
        refused = thief.answer(reply["ticket"], thief.decrypt(reply["challenge"]))
        assert (refused.status_code, refused.json()["error"]) == (404, "ticket"), op
    both = thief.decrypt(takeover["challenge"])
    both += thief.decrypt(takeover["new_challenge"], str(evil))
    assert thief.answer(takeover["ticket"], both).status_code == 404

    ada.identity = str(fresh)
    assert household.home.roster().known_owner("ada").recipient == str(fresh.to_public())
    assert [clip["clip"] for clip in ada.request("list").json()["clips"]] == [header.clip]
    assert ada.request("retention").json()["days"] is None
    refusals = [row for row in ada.log_rows() if row["outcome"] == "refused"]
    assert sorted(row["op"] for row in refusals) == sorted([*stolen, "new-key"])


def test_key_replaced_between_check_and_edit_is_found_inside_the_edit(
    ada: "OwnerClient", context: ArchiveContext, household: "Household"
) -> None:
    evil, fresh = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    before = context.roster()
    ticket = RequestChallenge(
        "ada",
        before.known_owner("ada").okey,
        requests.NewKeyRequest(recipient=str(evil.to_public())),
        "0" * 64,
    )
    household.home.change_roster(lambda old: old.with_new_key("ada", str(fresh.to_public())))
    # The check before the edit still sees the roster of before.
    operations = Operations(dataclasses.replace(context, roster=lambda: before))

    with pytest.raises(KeyReplaced):
        operations.execute(ticket)

    assert household.home.roster().known_owner("ada").recipient == str(fresh.to_public())
    ada.identity = str(fresh)
    assert ada.request("list").status_code == 200


def test_export_ends_when_the_key_is_replaced(
    context: ArchiveContext, clip_factory: "ClipFactory", household: "Household"
) -> None:
    for _ in range(3):
        clip_factory.put()
    fresh = pyrage.x25519.Identity.generate()
    ticket = RequestChallenge(
        "ada", context.roster().known_owner("ada").okey, requests.ExportRequest(), "0" * 64
    )
    stream = Operations(context).execute(ticket)
    assert isinstance(stream, ZipStream)
    next(stream.pieces)
    household.home.change_roster(lambda old: old.with_new_key("ada", str(fresh.to_public())))

    with pytest.raises(KeyReplaced):
        list(stream.pieces)

    (row,) = [row["body"] for row in context.log.page("ada", 0, 10)]
    assert (row["op"], row["outcome"]) == ("export", "failed")


@pytest.mark.parametrize("is_removed", [True, False])
def test_removed_or_inactive_owner_ends_the_tickets(
    ada: "OwnerClient", household: "Household", *, is_removed: bool
) -> None:
    reply = ada.request_ticket("list").json()
    recipient = household.recipient("ada")

    def edit(roster: Roster) -> Roster:
        removed = roster.without_owner("ada")
        return removed if is_removed else removed.with_owner("ada", recipient)

    household.home.change_roster(edit)

    refused = ada.answer(reply["ticket"], ada.decrypt(reply["challenge"]))
    assert (refused.status_code, refused.json()["error"]) == (404, "owner")


def test_signed_head_needs_no_ticket(client: "TestClient", context: ArchiveContext) -> None:
    reply = client.get("/v1/archive").json()

    assert reply["archive"] == context.name
    head = json.dumps(reply["head"]).encode()
    assert receipts.parse_head(head, context.key.public_key()).n == 0
    with pytest.raises(receipts.BadSignature):
        receipts.parse_head(head, Ed25519PrivateKey.generate().public_key())


def test_stock_age_answers_the_challenge(
    ada: "OwnerClient", clip_factory: "ClipFactory", tmp_path: Path
) -> None:
    clip_factory.put()
    key = tmp_path / "ada.key"
    key.write_text(ada.identity + "\n", "utf-8")
    reply = ada.request_ticket("list").json()

    read = subprocess.run(
        ["age", "-d", "-i", str(key)],
        input=reply["challenge"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(ada.answer(reply["ticket"], read.stdout).json()["clips"]) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    body=st.binary(max_size=300),
)
def test_any_request_gets_a_client_error(
    client: "TestClient", method: str, path: str, body: bytes
) -> None:
    for where in (f"/v1/tickets/{path}".replace("#", "").replace("?", ""), "/v1/tickets"):
        headers = {"content-type": "application/json"}
        response = client.request(method, where, content=body, headers=headers)
        assert response.status_code < 500
        assert response.status_code >= 400


class AsgiClient:
    """An ASGI client that disconnects after a number of messages."""

    def __init__(self, limit: int = 100) -> None:
        self.messages: list[Message] = []
        self._limit = limit
        self._disconnected = asyncio.Event()

    async def receive(self) -> Message:
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if len(self.messages) == self._limit:
            self._disconnected.set()

    def receive_body(self, response: ChunkedResponse) -> bytes:
        asyncio.run(response({"type": "http"}, self.receive, self.send))
        return b"".join(entry.get("body", b"") for entry in self.messages)


class PieceSource:
    """A generator of pieces that records whether it was closed."""

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
        (ClipNotFound(), 404, "clip"),
        (WrongOwner("another's", "bob", ("entry",)), 409, "not-hers"),
        (Unavailable("the disk is full"), 503, "unavailable"),
        (EarmarkError("this key counts already"), 409, "key"),
    ],
)
def test_failure_maps_to_status_and_error_word(error: EarmarkError, status: int, word: str) -> None:
    response = failure_response(Request({"type": "http"}), error)

    reply: dict[str, Any] = msgspec.json.decode(response.body)
    assert (response.status_code, reply["error"]) == (status, word)
    assert word in schema.ERRORS[status]
    assert "bob" not in str(reply)
    assert response.headers["cache-control"] == "no-store"


def test_disk_error_is_logged_but_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    response = failure_response(Request({"type": "http"}), Unavailable("/secret/place is full"))

    assert b"/secret/place" not in response.body
    assert "/secret/place" in caplog.text


def test_chunked_response_is_sent_completely() -> None:
    client, source = AsgiClient(), PieceSource()

    assert client.receive_body(ChunkedResponse(source.pieces())) == b"piece " * 3

    assert client.messages[-1]["more_body"] is False
    assert source.closed


def test_chunked_response_has_no_final_chunk_after_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, source = AsgiClient(), PieceSource(Unavailable("the disk is gone"))

    client.receive_body(ChunkedResponse(source.pieces()))

    assert client.messages[-1]["more_body"] is True
    assert "stopped: the disk is gone" in caplog.text
    assert source.closed


def test_chunked_response_stops_when_the_client_disconnects() -> None:
    client, source = AsgiClient(limit=4), PieceSource(count=100_000)

    client.receive_body(ChunkedResponse(source.pieces()))

    assert client.messages[-1]["more_body"] is True
    assert source.closed


@pytest.mark.parametrize(
    ("address", "is_private"),
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
def test_private_addresses(address: str, *, is_private: bool) -> None:
    assert is_private_address(address) is is_private


def test_public_address_is_refused(context: "ArchiveContext", clock: "FakeClock") -> None:
    app = Api(context, RequestChallenges(clock), Operations(context)).app()
    with TestClient(app, client=("8.8.8.8", 1)) as client:
        assert client.get("/v1/archive").status_code == 403


class UnreadingClient(AsgiClient):
    """A client that reads the beginning of a response, and nothing more."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        if len(self.messages) > 1:
            await asyncio.Event().wait()


def test_export_that_is_not_read_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "READ_GRACE_S", 0.05)
    source = PieceSource()

    with pytest.raises(TimeoutError):
        UnreadingClient().receive_body(ChunkedResponse(source.pieces()))

    assert source.closed


def test_proof_is_noted_and_a_wrong_answer_is_not(
    context: ArchiveContext, clock: "FakeClock", household: "Household"
) -> None:
    proofs: list[str] = []
    app = Api(context, RequestChallenges(clock), Operations(context)).app()

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        scope[api.NOTE_PROOF] = lambda: proofs.append(scope["path"])
        await app(scope, receive, send)

    with TestClient(noting, client=("127.0.0.1", 1)) as client:
        asked = {"owner": "ada", "request": {"op": "keys"}}
        wrong = client.post("/v1/tickets", json=asked).json()["ticket"]
        assert client.post(f"/v1/tickets/{wrong}", content="wrong").status_code == 403
        assert proofs == []
        told = client.post("/v1/tickets", json=asked).json()
        key = pyrage.x25519.Identity.from_str(household.identities["ada"])
        answer = pyrage.decrypt(told["challenge"].encode(), [key])
        assert client.post(f"/v1/tickets/{told['ticket']}", content=answer).status_code == 200

    assert proofs == [f"/v1/tickets/{told['ticket']}"]
