"""``earmark owner key`` as an owner types it, before the archive's real server."""

import json
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
import pytest

from listener.cli import main
from listener.clips.trust_store import TrustStore
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.owner_key.key_card import parse_card
from listener.owner_key.recovery_words import words_of
from listener.storage.home import Home

if TYPE_CHECKING:
    from tests.clips.conftest import Sounding
    from tests.conftest import Household
    from tests.owner_key.conftest import TypeKey

pytestmark = pytest.mark.system  # a real archive answers on its socket


def test_make_writes_key_copy_and_sheet_for_the_owner_alone(
    type_key: "TypeKey", person: Path
) -> None:
    made = type_key("make", "ada")

    assert made.code == 0, made.err
    assert sorted(path.name for path in person.iterdir()) == [
        "ada-recovery.html",
        "ada.key",
        "ada.key.age",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in person.iterdir()} == {0o600}
    card = parse_card((person / "ada.key").read_bytes(), "ada.key")
    assert card.owner == "ada"
    assert card.identities[0].recipient in made.out
    passphrase = re.search(r"passphrase: ([a-z ]+)", made.out)
    assert passphrase is not None
    copy = (person / "ada.key.age").read_bytes()
    assert pyrage.passphrase.decrypt(copy, passphrase[1]) == (person / "ada.key").read_bytes()
    assert "AGE-SECRET" not in made.out + made.err


def test_make_replaces_no_file(type_key: "TypeKey", person: Path) -> None:
    (person / "ada-recovery.html").write_text("an older sheet", "utf-8")

    refused = type_key("make", "ada")

    assert refused.code == 2
    assert "exists already" in refused.err
    assert [path.name for path in person.iterdir()] == ["ada-recovery.html"]


def test_what_make_prints_is_accepted_where_a_public_key_is_taken(
    type_key: "TypeKey", person: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public = type_key("make", "ada").out.splitlines()[-1].strip()
    speaker = person / "speaker"

    assert main.main(["owner", "add", "ada", "--key", public, "--home", str(speaker)]) == 0
    challenged = main.main(["owner", "challenge", "ada", "--home", str(speaker)])
    challenge = capsys.readouterr().out
    start = challenge.index("-----BEGIN")
    (identity,) = parse_identities((person / "ada.key").read_bytes(), "ada.key")
    answer = bytes(pyrage.decrypt(challenge[start:].encode(), [identity.secret])).decode()

    assert challenged == 0
    assert main.main(["owner", "confirm", "ada", answer.strip(), "--home", str(speaker)]) == 0
    assert Home(speaker).roster().known_owner("ada").active


def test_own_passphrase_from_a_file(type_key: "TypeKey", person: Path) -> None:
    (person / "p").write_text("short\n", "utf-8")
    assert type_key("make", "ada", "--passphrase-file", "p").code == 2
    assert not (person / "ada.key").exists()
    (person / "p").write_text("a longer one, with ümlaut\n", "utf-8")

    made = type_key("make", "ada", "--passphrase-file", "p")

    assert "passphrase:" not in made.out
    copy = (person / "ada.key.age").read_bytes()
    assert pyrage.passphrase.decrypt(copy, "a longer one, with ümlaut")


def test_update_adds_the_speakers_that_this_computer_knows(
    type_key: "TypeKey", person: Path, household: "Household"
) -> None:
    type_key("make", "ada")
    assert "speakers in it: none" in type_key("update", "ada.key").out
    before = (person / "ada.key").read_text("utf-8")
    (key,) = household.home.roster().device_keys().values()
    known = TrustStore(person / "home")
    known.pin_devices({"hall": keys.device_text(key)})
    archive = keys.device_text(household.home.archive_key().public_key())
    known.pin_archive(archive)

    updated = type_key("update", "ada.key")

    assert updated.code == 0, updated.err
    assert "speakers in it: hall\n" in updated.out
    card = parse_card((person / "ada.key").read_bytes(), "ada.key")
    assert [(one.name, one.key) for one in card.speakers] == [("hall", keys.device_text(key))]
    assert card.archive == archive
    assert before.splitlines()[-1] == (person / "ada.key").read_text("utf-8").splitlines()[-1]
    assert "Speakers in the code: hall" in (person / "ada-recovery.html").read_text("utf-8")


@pytest.mark.parametrize("form", ["sheet", "typed words", "words in a file", "copy", "code"])
def test_restore_from_each_form(type_key: "TypeKey", person: Path, form: str) -> None:
    made = type_key("make", "ada", "--json").rows()[0]
    card = parse_card((person / "ada.key").read_bytes(), "ada.key")
    words = " ".join(words_of(card.identities[0]))
    (person / "words.txt").write_text(words, "utf-8")
    (person / "p").write_text(made["passphrase"], "utf-8")
    (person / "code.txt").write_text(card.qr_text(), "utf-8")
    lines = "".join(f"{number}. {word}\n" for number, word in enumerate(words.split(), 1))
    source, typed = {
        "sheet": (["ada-recovery.html"], ""),
        "typed words": ([], lines),
        "words in a file": (["words.txt"], ""),
        "copy": (["ada.key.age", "--passphrase-file", "p"], ""),
        "code": (["code.txt"], ""),
    }[form]

    restored = type_key("restore", *source, "--owner", "ada", "--to", "again.key", typed=typed)

    assert restored.code == 0, restored.err
    assert (person / "again.key").read_bytes() == (person / "ada.key").read_bytes()
    refused = type_key("restore", *source, "--owner", "ada", "--to", "again.key", typed=typed)
    assert refused.code == 2
    assert "exists already" in refused.err


def test_restore_asks_for_the_passphrase_at_a_terminal(
    type_key: "TypeKey", person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = type_key("make", "ada", "--json").rows()[0]
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return str(made["passphrase"])

    monkeypatch.setattr("getpass.getpass", answer)

    restored = type_key(
        *("restore", "ada.key.age", "--owner", "ada", "--to", "again.key"), is_terminal=True
    )

    assert restored.code == 0, restored.err
    assert asked == ["passphrase of ada.key.age: "]
    assert (person / "again.key").read_bytes() == (person / "ada.key").read_bytes()


def test_restore_of_a_wrong_sheet_writes_nothing(type_key: "TypeKey", person: Path) -> None:
    type_key("make", "ada", "--to", "other")
    (person / "p").write_text("not the passphrase", "utf-8")

    for source, text in (
        (["none.html"], "cannot read none.html"),
        (["other/ada.key.age", "--passphrase-file", "p"], "does not decrypt"),
        (["other/ada.key.age"], "is protected by a passphrase"),
        ([], "0 words"),
    ):
        refused = type_key("restore", *source, "--owner", "ada")
        assert refused.code in {2, 69, 78}
        assert text in refused.err
    assert not (person / "ada.key").exists()


@pytest.fixture
def ada_key(person: Path, household: "Household") -> Path:
    """The key of the household's owner ada."""
    path = person / "ada.key"
    path.write_text(household.identities["ada"] + "\n", "utf-8")
    return path


def test_check_opens_the_newest_clip(
    type_key: "TypeKey", person: Path, ada_key: Path, archive_socket: Path, shelf: "Sounding"
) -> None:
    assert type_key("update", ada_key, "--owner", "ada").code == 0
    where = ("--archive", archive_socket)
    (identity,) = parse_identities(ada_key.read_bytes(), "ada.key")
    words = " ".join(words_of(identity))

    empty = type_key("check", "ada-recovery.html", *where)
    shelf.put(t="2026-11-21T08:00:00.000Z")
    newest = shelf.put(t="2026-11-22T08:00:00.000Z")
    by_sheet = type_key("check", "ada-recovery.html", *where)
    by_words = type_key("check", "--owner", "ada", "--json", *where, typed=words)

    assert (empty.code, "no clip to open" in empty.err) == (1, True)
    assert by_sheet.code == 0, by_sheet.err
    assert f"opened {newest}" in by_sheet.out
    assert json.loads(by_words.out)["clip"] == newest
    assert not list(person.rglob("*.flac"))
    assert {path.name for path in person.iterdir()} == {
        "home",  # the pinned keys of the speakers
        "ada-recovery.html",
        "ada.key",
        "ada.key.age",
    }


def test_check_of_another_key_fails(
    type_key: "TypeKey", archive_socket: Path, shelf: "Sounding", tmp_path: Path
) -> None:
    type_key("make", "ada")
    where = ("--archive", archive_socket)
    shelf.put()

    wrong = type_key("check", "ada-recovery.html", *where)
    away = type_key("check", "ada-recovery.html", "--archive", tmp_path / "none.sock")

    assert (wrong.code, "cannot decrypt" in wrong.err) == (1, True)
    assert (away.code, "cannot connect" in away.err) == (69, True)


def test_check_of_a_clip_without_the_archive(
    type_key: "TypeKey",
    person: Path,
    ada_key: Path,
    shelf: "Sounding",
    household: "Household",
) -> None:
    type_key("update", ada_key, "--owner", "ada")
    header, data = shelf.seal()
    (person / "one.earmark").write_bytes(data)
    (person / "changed.earmark").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (key,) = household.home.roster().device_keys().values()
    TrustStore(person / "home").pin_devices({"hall": keys.device_text(key)})

    opened = type_key("check", "ada-recovery.html", "--clip", "one.earmark")
    changed = type_key("check", "ada-recovery.html", "--clip", "changed.earmark")

    assert opened.code == 0, opened.err
    assert header.clip in opened.out
    assert changed.code == 1
