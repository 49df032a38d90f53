"""``earmark clips`` as an owner types it, before the archive's real server."""

import argparse
import contextlib
import io
import json
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.devices import RetiredKeys
from listener.archive.owner_state import ORDERS
from listener.cli import clips, clips_read, main
from listener.cli.clips_read import Progress
from listener.clips.client import ArchiveClient
from listener.clips.session import Session, local_day
from listener.config import Config
from listener.envelope import keys
from listener.envelope.format import format_timestamp, parse_envelope
from listener.owner import key_rotation
from listener.rights import requests
from tests.archive.conftest import NOON_S

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from listener.archive.store import FileStore
    from listener.storage.access_log import AccessLog
    from tests.clips.conftest import Machine, Sounding
    from tests.conftest import Household

pytestmark = pytest.mark.system  # a real archive answers on its socket


def test_list_by_day_device_and_time(ada: "Machine", shelf: "Sounding") -> None:
    first = shelf.put(t="2026-11-21T08:00:00.000Z")
    second = shelf.put(t="2026-11-22T08:00:00.000Z")
    shelf.put("bob")

    assert [row["clip"] for row in ada.rows("list")] == [first, second]
    assert [row["clip"] for row in ada.rows("list", "--day", "2026-11-21")] == [first]
    assert [row["clip"] for row in ada.rows("list", "--from", "2026-11-22")] == [second]
    assert [row["clip"] for row in ada.rows("list", "--until", "2026-11-22T09:00+01:00")] == [first]
    assert ada.rows("list", "--device", "kitchen") == []
    assert first in ada.clips("list").out


def test_list_tells_of_quarantined_clips_and_erase_destroys_them(
    ada: "Machine", shelf: "Sounding", household: "Household"
) -> None:
    stored = shelf.put()
    header, data = shelf.seal()
    quarantined = household.home.path / "archive" / "quarantine" / "ada" / f"{header.clip}.earmark"
    quarantined.parent.mkdir(parents=True)
    quarantined.write_bytes(data[:-1])

    told = ada.clips("list")
    assert stored in told.out
    assert header.clip not in told.out
    assert "1 more in your name do not verify" in told.err

    (receipt,) = ada.rows("erase", "--all", "--yes")
    assert sorted(receipt["clips"]) == sorted([stored, header.clip])
    assert not quarantined.exists()
    assert ada.clips("list").err == ""


def test_list_open_shows_word_score_and_length(ada: "Machine", shelf: "Sounding") -> None:
    shelf.put()

    (row,) = ada.rows("list", "--open")

    assert (row["word"], row["score"], row["ms"]) == ("alexa", 0.93, 250)
    assert "alexa at 0.93, 0.2 s" in ada.clips("list", "--open").out
    assert json.loads((ada.home / "clips" / "known.json").read_bytes())["devices"].keys() == {
        "hall"
    }


def at_desk(machine: "Machine", *words: str) -> tuple[argparse.Namespace, Session]:
    parser = argparse.ArgumentParser()
    clips.add_arguments(parser)
    who = ["--owner", machine.name, "--identity", str(machine.key)]
    arguments = parser.parse_args([*words, *who, "--archive", str(machine.archive)])
    return arguments, Session.create(arguments, Config(home=str(machine.home)))


def test_long_list_is_fetched_in_pages(ada: "Machine", shelf: "Sounding") -> None:
    made = [shelf.put(t=f"2026-11-21T08:00:0{second}.000Z") for second in range(5)]
    arguments, desk = at_desk(ada, "list")

    assert [one.clip for one in desk.list_clips(arguments, limit=2)] == made


def test_clip_of_a_key_not_held_is_listed_undecrypted(
    ada: "Machine", shelf: "Sounding", household: "Household"
) -> None:
    shelf.put()
    newer = pyrage.x25519.Identity.generate()
    household.home.change_roster(lambda old: old.with_new_key("ada", str(newer.to_public())))
    ada.key.write_text(str(newer))

    said = ada.clips("list", "--open", "--json")

    assert said.code == 1
    assert "not in the identity" in said.rows()[0]["closed"]


def test_play_writes_flac(ada: "Machine", shelf: "Sounding", tmp_path: Path) -> None:
    clip = shelf.put()
    target = tmp_path / "heard.flac"

    (row,) = ada.rows("play", clip, "--to", target)

    assert target.read_bytes().startswith(b"fLaC")
    assert target.stat().st_mode & 0o777 == 0o600
    assert (row["clip"], row["word"]) == (clip, "alexa")
    target.write_bytes(b"something else")
    assert ada.clips("play", clip, "--to", target).code == 1


def test_play_pipes_wav_to_aplay(
    ada: "Machine", shelf: "Sounding", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = shelf.put()
    monkeypatch.setenv("PATH", str(tmp_path))

    missing = ada.clips("play", clip)
    player = tmp_path / "aplay"
    player.write_text(f"#!/bin/sh\n/bin/cat > {tmp_path}/heard.wav\n")
    player.chmod(0o700)
    played = ada.clips("play", clip)
    player.write_text("#!/bin/sh\n/bin/cat > /dev/null; exit 1\n")
    broken = ada.clips("play", clip)

    assert (missing.code, played.code, broken.code) == (69, 0, 1)
    assert "--to FILE.flac" in missing.err
    assert (tmp_path / "heard.wav").read_bytes().startswith(b"RIFF")


def test_clip_of_another_owner_is_refused_as_unknown(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    said = ada.clips("play", shelf.put("bob"), "--to", tmp_path / "x.flac")

    assert said.code == 1
    assert "you have no clip with this id" in said.err
    assert not (tmp_path / "x.flac").exists()


def test_export_is_verified_and_decrypted(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    made = {shelf.put(t=f"2026-11-22T08:00:0{second}.000Z") for second in range(3)}
    shelf.put("bob")
    target, folder = tmp_path / "ada.zip", tmp_path / "open"

    (told,) = ada.rows("export", "--to", target, "--open", folder)

    assert (told["count"], told["opened"], told["closed"]) == (3, 3, 0)
    with zipfile.ZipFile(target) as found:
        assert found.testzip() is None
    assert {file.stem for file in folder.glob("*.flac")} == made
    listed = json.loads((folder / "index.json").read_bytes())
    assert [row["t"][17:19] for row in listed] == ["00", "01", "02"]
    shown = (folder / "index.html").read_text()
    assert all(f'src="{clip}.flac"' in shown for clip in made)
    assert not list(tmp_path.glob(".*.part"))
    assert ada.clips("export", "--to", target).code == 1, "it is there already"


def test_export_with_the_log_after_an_earlier_one(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    clip = shelf.put()
    first, second, third = (tmp_path / name for name in ("1.zip", "2.zip", "3.zip"))
    assert ada.clips("export", "--to", first).code == 0
    (erased,) = ada.rows("erase", clip, "--yes")

    said = ada.clips("export", "--to", second, "--log-after", first)
    more = ada.clips("export", "--to", third, "--log-after", erased["receipt"])

    assert (said.code, more.code) == (0, 0), said.err + more.err
    number = {path: [*lines_of(path)] for path in (first, second, third)}
    assert [len(lines) for lines in number.values()] == [1, 3, 3]
    verified = ada.run("verify", second)
    assert "the access log begins after row 1" in verified.out
    assert json.loads(ada.run("verify", third, "--json").out)["log_after"] == 2
    saved = tmp_path / "log.jsonl"
    saved.write_bytes(b"".join(number[second]))
    assert "2 rows after row 1, unchanged" in ada.run("log", "--verify", saved).out
    saved.write_bytes(number[second][0] + number[second][2])
    assert "wrong at row 2" in ada.run("log", "--verify", saved).err


def lines_of(path: Path) -> list[bytes]:
    with zipfile.ZipFile(path) as export:
        return export.read("access-log.jsonl").splitlines(keepends=True)


def test_invalid_export_is_reported_and_removed(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    clip = shelf.put()
    other = shelf.put("bob")
    shelf.store.path("bob", other).rename(shelf.store.path("ada", clip))

    said = ada.clips("export", "--to", tmp_path / "ada.zip")

    assert said.code == 1
    assert f"does not verify as yours: 1 file, {clip}" in said.err
    assert "nothing was sent" in said.err
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".*.part"))


def test_endless_export_stops_before_the_disk_is_full_and_leaves_no_file(
    ada: "Machine", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = []

    def endless(*_: object) -> Iterator[bytes]:
        while True:
            received.append(1 << 16)
            yield bytes(1 << 16)

    monkeypatch.setattr(ArchiveClient, "get_export", endless)
    room = clips_read.SPARE_BYTES + (3 << 20)
    monkeypatch.setattr(clips_read, "free_bytes", lambda _: room - sum(received))

    said = ada.clips("export", "--to", tmp_path / "ada.zip")

    assert said.code == 69
    assert "is nearly full, after 4 MB of the export" in said.err
    assert sum(received) == 4 << 20
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".*.part"))


def test_verify_checks_exports_and_receipts(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    clip = shelf.put()
    target = tmp_path / "ada.zip"
    ada.rows("export", "--to", target)
    (erased,) = ada.rows("erase", clip, "--yes")

    whole = ada.run("verify", target, "--identity", ada.key)
    receipt = ada.run("verify", erased["receipt"], "--json")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(target.read_bytes()[:-30])
    strangers = ada.run("verify", target, "--owner", "bob")

    assert (whole.code, receipt.code) == (0, 0)
    assert "1 clip exported, 1 decrypted" in whole.out
    assert receipt.rows()[0]["kind"] == "erase"
    assert ada.run("verify", cut).code == 1
    assert strangers.code == 1
    assert ada.run("verify", tmp_path / "nowhere").code == 69


def test_verify_without_a_known_archive_needs_its_key(
    ada: "Machine", bob: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    shelf.put()
    target = tmp_path / "ada.zip"
    ada.rows("export", "--to", target)
    key = json.loads((ada.home / "clips" / "known.json").read_bytes())["archive"]

    assert bob.run("verify", target).code == 2
    assert bob.run("verify", target, "--archive-key", key).code == 0
    other = "ed25519:" + "A" * 43 + "="
    assert bob.run("verify", target, "--archive-key", other).code == 1


def test_erase_takes_ids_a_range_or_all_and_keeps_the_receipt(
    ada: "Machine", shelf: "Sounding"
) -> None:
    made = [shelf.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (0, 1, 2)]

    (one,) = ada.rows("erase", made[0], "--yes")
    (ranged,) = ada.rows("erase", "--until", "2026-11-22", "--yes")
    (rest,) = ada.rows("erase", "--all", "--yes")

    assert [one["clips"], ranged["clips"], rest["clips"]] == [[clip] for clip in made]
    assert Path(one["receipt"]).exists()
    assert ada.rows("list") == []
    gone = ada.clips("erase", made[0], "--yes")
    assert (gone.code, "no such clip" in gone.err) == (1, True)


def test_receipts_erase_again_what_a_restored_backup_brought_back(
    ada: "Machine", bob: "Machine", shelf: "Sounding", home: Path
) -> None:
    gone, kept, of_bob = shelf.put(), shelf.put(), shelf.put("bob")
    data = [shelf.store.path(*clip).read_bytes() for clip in (("ada", gone), ("bob", of_bob))]
    ada.rows("erase", gone, "--yes")
    bob.rows("erase", of_bob, "--yes")
    said = ada.clips("erase", "--receipts", "--yes")
    assert (said.code, said.out) == (0, "no erased clip has returned\n")

    with contextlib.closing(sqlite3.connect(home / ORDERS)) as orders, orders:
        orders.execute("delete from tombstone")  # as in a backup from before
    for envelope in data:
        assert shelf.store.keep(parse_envelope(envelope), envelope, int(NOON_S))
    assert {row["clip"] for row in ada.rows("list")} == {gone, kept}
    (again,) = ada.rows("erase", "--receipts", "--yes")

    assert again["clips"] == [gone]
    assert [row["clip"] for row in ada.rows("list")] == [kept]
    assert [row["clip"] for row in bob.rows("list")] == [of_bob], "each owner has their own"


def test_many_ids_are_erased_in_batches(ada: "Machine", shelf: "Sounding") -> None:
    made = [shelf.put() for _ in range(201)]

    told = ada.rows("erase", *made, "--yes")

    assert sorted(row["count"] for row in told) == [1, 200]
    assert ada.rows("list") == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("erase", "--yes"), 2),
        (("erase", "--all", "--until", "2026-11-22", "--yes"), 2),
        (("erase", "--all", "--receipts", "--yes"), 2),
        (("erase", "--receipts", "--device", "hall", "--yes"), 2),
        (("erase", "--all"), 2),  # no terminal to ask at
        (("erase", "7f3f0a66-0000-4000-8000-000000000000", "--device", "hall", "--yes"), 2),
        (("erase", "no-id", "--yes"), 2),
        (("list", "--day", "yesterday", "--from", "2026-11-22"), 2),
        (("list", "--day", "tomorrow"), 2),
        (("list", "--day", "2026-02-30"), 2),
        (("list", "--from", "99999"), 2),
        (("list", "--day", "2026-11-22", "--from", "2026-11-22"), 2),
        (("retention", "0"), 2),
    ],
)
def test_contradictory_selections_are_refused(
    ada: "Machine", words: tuple[str, ...], code: int
) -> None:
    said = ada.clips(*words)

    assert said.code == code, said.err
    assert said.out == ""


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1), (None, 1)])
def test_erase_asks_for_confirmation(
    ada: "Machine", shelf: "Sounding", answer: str | None, left: int
) -> None:
    shelf.put()
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        if answer is None:
            raise EOFError
        return answer

    arguments, desk = at_desk(ada, "erase", "--all")
    code = clips.erase(arguments, desk, ask)

    assert asked == ["Erase 1 clip of ada? This cannot be undone. [y/N] "]
    assert code == left
    assert sum(1 for _ in shelf.store.clips("ada")) == left


def test_retention_is_printed_and_set(ada: "Machine") -> None:
    assert ada.rows("retention")[0]["days"] is None
    assert "as long as the speaker set" in ada.clips("retention").out
    assert ada.rows("retention", 7)[0]["days"] == 7
    assert "7 days at most" in ada.clips("retention").out


def test_keys_change_with_proof_of_both(ada: "Machine", shelf: "Sounding") -> None:
    clip = shelf.put()
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))

    (before,) = ada.rows("keys")
    assert before["sealed_to"] == {"hall": before["active"]}
    changed = ada.clips("new-key", newer)
    stale = ada.clips("list")
    old = ada.key.read_text()
    ada.key.write_text(f"{newer.read_text()}\n{old}")
    (after,) = ada.rows("keys")

    assert changed.code == 0, changed.err
    assert "the proof was sent to hall: a speaker uses the new key from its next" in changed.out
    assert "run this on it" not in changed.out.partition("the proof was sent")[2]
    assert "keep the old key" in changed.out
    assert (stale.code, "active key" in stale.err) == (1, True)
    assert after["retired"] == [before["active"]]
    assert sorted(after["held"]) == sorted([before["active"], after["active"]])
    told = ada.clips("keys").out
    assert "retired  in this identity" in told
    assert f"hall: newest clip encrypted to {before['active']}, which is retired; the arch" in told
    assert "earmark owner new-key ada --key age1" in told, "what a person does at the speaker"
    assert [row["clip"] for row in ada.rows("list", "--open") if "word" in row] == [clip]
    newer.write_text(old * 2)
    assert ada.clips("new-key", newer).code == 78


def test_new_key_names_the_speakers_that_do_not_receive_the_proof(
    ada: "Machine", monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))
    monkeypatch.setattr(requests, "MOST_PROOFS", 0)

    changed = ada.clips("new-key", newer)

    assert "the proof was sent" not in changed.out
    assert "the archive does not forward the proof to hall: run this on it" in changed.out
    assert "earmark owner new-key ada --key age1" in changed.out


def test_speaker_accepts_the_proof_of_new_key(
    ada: "Machine", shelf: "Sounding", household: "Household", context: "ArchiveContext"
) -> None:
    shelf.put()
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))
    before = household.home.roster()

    assert ada.clips("new-key", newer).code == 0

    (said,) = context.store.owner_state.pending_keys()["hall"]
    carried = key_rotation.parse(f"[{said.text}]".encode())
    after = key_rotation.apply_rotation(before, carried, "hall", household.device_key)
    assert after == household.home.roster()
    assert after != before


def test_new_key_requires_the_active_key_in_the_identity(ada: "Machine") -> None:
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))
    assert ada.clips("new-key", newer).code == 0

    said = ada.clips("new-key", newer)  # with the old key alone

    assert said.code == 1
    assert "active key" in said.err


def test_log_is_printed_and_verified_offline(
    ada: "Machine", bob: "Machine", tmp_path: Path
) -> None:
    bob.rows("list")
    ada.rows("list")
    ada.rows("retention", 7)

    rows = ada.rows("log")
    text = ada.clips("log").out
    verdict = ada.clips("log", "--verify")
    saved = tmp_path / "log.jsonl"
    saved.write_text(ada.clips("log", "--json").out)
    offline = ada.run("log", "--verify", saved)

    assert [row["body"]["op"] for row in rows if "body" in row] == ["list", "retention", "log"]
    assert "retention" in text
    assert verdict.out.endswith("\n")
    assert "rows, unchanged" in verdict.out
    assert offline.code == 0, offline.err


def test_changed_log_is_reported_at_its_first_wrong_row(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    clip = shelf.put()
    (erased,) = ada.rows("erase", clip, "--yes")
    ada.rows("list")
    lines = ada.clips("log", "--json").out.splitlines(keepends=True)
    saved = tmp_path / "log.jsonl"

    saved.write_text("".join([lines[0].replace('"count":1', '"count":2'), *lines[1:]]))
    changed = ada.run("log", "--verify", saved)
    saved.write_text("".join(lines[1:]))
    beheaded = ada.run("log", "--verify", saved)
    saved.write_text("")
    cut = ada.run("log", "--verify", saved, "--receipt", erased["receipt"])
    saved.write_text("[]\n")
    garbage = ada.run("log", "--verify", saved)

    assert [one.code for one in (changed, beheaded, cut, garbage)] == [1, 1, 1, 1]
    assert "wrong at row 1" in changed.err
    assert "wrong at row 1: it is missing" in beheaded.err
    assert "wrong at row 1: it is missing" in cut.err
    assert "line 1 is not a row" in garbage.err


def test_truncated_log_is_detected(ada: "Machine", log: "AccessLog", tmp_path: Path) -> None:
    for _ in range(5):
        ada.rows("list")
    ada.rows("log")
    kept = ada.home / "clips" / "known.json"
    seen = json.loads(kept.read_bytes())
    seen["head"]["n"] += 100
    kept.write_text(json.dumps(seen))
    del log

    said = ada.clips("log", "--verify")

    assert said.code == 1
    assert "the access log is wrong at row" in said.err
    assert ada.clips("export", "--to", tmp_path / "ada.zip").code == 1


def test_replaced_archive_is_detected(ada: "Machine", shelf: "Sounding") -> None:
    clip = shelf.put()
    ada.home.joinpath("clips").mkdir(parents=True)
    kept = {"archive": "ed25519:" + "A" * 43 + "="}
    (ada.home / "clips" / "known.json").write_text(json.dumps(kept))

    said = ada.clips("erase", clip, "--yes")

    assert said.code == 1
    assert "another archive" in said.err


def test_missing_arguments_and_files_are_reported(ada: "Machine", tmp_path: Path) -> None:
    assert ada.run("list").code == 2
    assert ada.run("list", "--owner", "ada", "--identity", tmp_path / "nowhere").code == 78
    away = ada.run("list", "--owner", "ada", "--identity", ada.key)
    assert (away.code, "run earmark archive serve" in away.err) == (69, True)
    assert ada.run("list", "--owner", "../x", "--identity", ada.key).code == 2
    ada.name = "eve"
    assert "the archive answered: there is no active owner" in ada.clips("list").err


def test_secret_key_is_never_printed(ada: "Machine", shelf: "Sounding") -> None:
    shelf.put()
    secret = ada.key.read_text().splitlines()[1]

    for words in (("list", "--open"), ("keys",), ("log",), ("list", "-v")):
        said = ada.clips(*words)
        assert secret not in said.out + said.err


def test_progress_is_printed_to_terminals_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, terminal = io.StringIO(), Terminal()

    for stream in (plain, terminal):
        progress = Progress(stream)
        progress.show("1.0 MB")
        progress.show("too soon")
        progress.end()

    assert plain.getvalue() == ""
    assert terminal.getvalue() == "\r\x1b[Kearmark: 1.0 MB\r\x1b[K"


def test_every_action_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("list", "play", "export", "erase", "retention", "log", "verify", "keys"):
        assert main.main(["clips", action, "--help"]) == 0
        assert "--json" in capsys.readouterr().out


def test_play_writes_flac_to_a_pipe(ada: "Machine", shelf: "Sounding") -> None:
    clip = shelf.put()
    who = ["--owner", "ada", "--identity", str(ada.key), "--archive", str(ada.archive)]
    words = ["clips", "play", clip, "--to", "-", *who, "--home", str(ada.home)]

    done = subprocess.run(
        [sys.executable, "-m", "listener", *words], capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"fLaC")


def test_export_reports_clips_that_stay_encrypted(
    ada: "Machine", shelf: "Sounding", household: "Household", tmp_path: Path
) -> None:
    shelf.put()
    newer = pyrage.x25519.Identity.generate()
    household.home.change_roster(lambda old: old.with_new_key("ada", str(newer.to_public())))
    ada.key.write_text(str(newer))

    said = ada.clips("export", "--to", tmp_path / "a.zip", "--open", tmp_path / "in", "--json")

    assert (said.code, said.rows()[0]["closed"]) == (1, 1)
    assert (tmp_path / "a.zip").exists()
    assert "closed: this clip is sealed" in (tmp_path / "in" / "index.html").read_text()
    assert not list((tmp_path / "in").glob("*.flac"))


def hall_is_removed(household: "Household", store: "FileStore") -> None:
    household.home.change_roster(lambda roster: roster.without_device("hall", int(NOON_S)))
    RetiredKeys(household.home, store, lambda: 0).set_bounds(household.home.roster())


@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.parametrize("is_pinned", [False, True])
def test_export_with_clips_of_a_removed_speaker_verifies(
    ada: "Machine",
    shelf: "Sounding",
    household: "Household",
    store: "FileStore",
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    is_replaced: bool,
    is_pinned: bool,
) -> None:
    clip = shelf.put()
    if is_pinned:
        assert ada.clips("play", clip, "--to", tmp_path / "before.flac").code == 0
    hall_is_removed(household, store)
    if is_replaced:
        text = keys.device_text(Ed25519PrivateKey.generate().public_key())
        household.home.change_roster(lambda roster: roster.with_device("hall", text))

    told = ada.clips("export", "--to", tmp_path / "ada.zip", "--open", tmp_path / "opened")
    verified = ada.run("verify", tmp_path / "ada.zip", "--identity", ada.key, "--json")
    played = ada.clips("play", clip, "--to", tmp_path / "after.flac")

    assert told.code == 0, told.err
    assert "1 clip, all verified" in told.out
    assert ("the key of hall was replaced" in caplog.text) == (is_replaced and is_pinned)
    assert verified.rows()[0]["opened"] == 1
    assert played.code == 0, played.err


def test_export_names_files_that_do_not_verify(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    good, damaged = shelf.put(), shelf.put()
    shelf.store.path("ada", damaged).write_bytes(b"rotten")
    target = tmp_path / "ada.zip"

    told = ada.clips("export", "--to", target)
    verified = ada.run("verify", target)

    assert told.code == 1
    assert "1 clip, all verified" in told.out
    assert "left out" in told.out
    assert f"  {damaged}\n" in told.out
    assert good not in told.out
    assert verified.code == 0
    assert f"  {damaged}\n" in verified.out
    assert ada.run("verify", target, "--json").rows()[0]["left_out"] == [damaged]


def test_list_has_a_heading_and_local_time(
    ada: "Machine", shelf: "Sounding", monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = shelf.put(t="2026-11-22T08:00:00.000Z")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        said = ada.clips("list")
    finally:
        monkeypatch.undo()
        time.tzset()

    heading, row = said.out.splitlines()
    assert heading.split() == ["LOCAL", "TIME", "SPEAKER", "CLIP", "SIZE"]
    assert row.split()[:4] == ["2026-11-22", "13:30:00", "hall", clip]
    assert row.index(clip) == heading.index("CLIP")


def test_empty_list_says_so(ada: "Machine") -> None:
    assert ada.clips("list").out == "no clips\n"
    assert ada.clips("list", "--json").out == ""


def test_first_characters_of_an_id_are_enough(
    ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    first = shelf.put(clip="a64ffe68-0000-4000-8000-000000000001")
    second = shelf.put(clip="a64f0000-0000-4000-8000-000000000002")

    played = ada.clips("play", "a64ff", "--to", tmp_path / "one.flac")
    many = ada.clips("play", "a64f", "--to", tmp_path / "many.flac")
    none = ada.clips("play", "beef", "--to", tmp_path / "none.flac")
    erased = ada.clips("erase", "a64f0", "--yes")

    assert (played.code, (tmp_path / "one.flac").read_bytes()[:4]) == (0, b"fLaC")
    assert many.code == 2
    assert first in many.err
    assert second in many.err
    assert none.code == 2
    assert "no clip of ada has an id that begins with beef" in none.err
    assert erased.code == 0
    assert [row["clip"] for row in ada.rows("list")] == [first]


def test_many_clips_of_a_prefix_are_not_all_listed(ada: "Machine", shelf: "Sounding") -> None:
    for number in range(10):
        shelf.put(clip=f"a64f0000-0000-4000-8000-00000000000{number}")

    many = ada.clips("play", "a64f")

    assert "10 clips have an id" in many.err
    assert "; and 2 more" in many.err


def test_options_that_are_remembered_are_the_defaults(ada: "Machine", shelf: "Sounding") -> None:
    clip = shelf.put()

    before = ada.run("list")
    once = ada.clips("list", "--remember")
    after = ada.run("list", "--json")
    other = ada.run("list", "--owner", "bob")

    assert before.code == 2
    assert "--remember" in before.err
    assert once.code == 0
    assert [row["clip"] for row in after.rows()] == [clip]
    assert other.code == 2  # another owner's key and archive are not used
    stored = (ada.home / "clips.toml").read_text()
    assert ada.key.read_text().splitlines()[1] not in stored
    assert str(ada.key) in stored


def test_identity_of_the_command_line_comes_first(ada: "Machine", tmp_path: Path) -> None:
    ada.clips("list", "--remember")

    assert ada.run("list", "--identity", tmp_path / "nowhere").code == 78


@pytest.mark.parametrize(
    "text", ["owner = 1", 'owner = "../x"', "owner", 'secret = "x"', "\xff", 'archive = "a b"']
)
def test_damaged_file_of_remembered_options_is_reported(ada: "Machine", text: str) -> None:
    ada.home.mkdir(exist_ok=True)
    (ada.home / "clips.toml").write_text(text, "latin-1")

    said = ada.run("list")

    assert said.code == 78
    assert "clips.toml is damaged" in said.err


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        ("today", "2026-03-29T22:00:00.000Z", "2026-03-30T22:00:00.000Z"),
        ("yesterday", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
    ],
)
def test_local_day_ends_at_midnight_also_when_clocks_change(
    monkeypatch: pytest.MonkeyPatch, day: str, start: str, end: str
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        found = local_day(day, date(2026, 3, 30))
    finally:
        monkeypatch.undo()
        time.tzset()

    assert found == (start, end)


def test_day_by_name_selects_by_local_time(ada: "Machine", shelf: "Sounding") -> None:
    now = datetime.now(UTC).astimezone()
    noon = datetime.combine(now.date(), datetime.min.time()).replace(hour=12)
    made = {
        name: shelf.put(
            t=format_timestamp((noon - timedelta(days=days)).astimezone().astimezone(UTC))
        )
        for name, days in (("today", 0), ("yesterday", 1), ("before", 2))
    }

    for name in ("today", "yesterday"):
        assert [row["clip"] for row in ada.rows("list", "--day", name)] == [made[name]]


def test_archive_open_works_on_the_owners_computer(
    ada: "Machine", shelf: "Sounding", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that was saved before; the computer has neither a roster nor an archive."""
    header, data = shelf.seal()
    file = tmp_path / "lost.earmark"
    file.write_bytes(data)
    words = ["archive", "open", str(file), "--identity", str(ada.key), "--home", str(ada.home)]

    unknown = main.main([*words, "--to", str(tmp_path / "none")])
    why = capsys.readouterr().err
    asked = main.main([*words, "--to", str(tmp_path / "one"), "--archive", str(ada.archive)])
    pinned = main.main([*words, "--to", str(tmp_path / "two")])

    assert unknown == 1
    assert "does not know the key of the speaker hall" in why
    assert "--archive" in why
    assert (asked, pinned) == (0, 0)
    for folder in ("one", "two"):
        assert (tmp_path / folder / f"{header.clip}.flac").read_bytes().startswith(b"fLaC")


def test_archive_open_refuses_a_clip_of_an_unknown_signer(
    ada: "Machine", household: "Household", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = Ed25519PrivateKey.generate()
    header = household.header(1, dkey=keys.device_id(stranger.public_key()))
    file = tmp_path / "forged.earmark"
    file.write_bytes(household.seal(header, key=stranger))
    words = ["archive", "open", str(file), "--identity", str(ada.key), "--home", str(ada.home)]

    code = main.main([*words, "--archive", str(ada.archive), "--to", str(tmp_path / "out")])

    assert code == 1
    assert "no device of this name and key" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
