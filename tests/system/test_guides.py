"""The guides for daily use: each line is typed as printed, on a household of real processes.

The guides say which names and words a person chooses; `GuideHousehold.fill` chooses them here. The
household is one for all guides, since each leaves it as a person would: the tests run in any order.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.envelope.open import parse_identities
from listener.owner_key.key_card import parse_card
from listener.owner_key.recovery_sheet import read_sheet
from listener.owner_key.recovery_words import words_of
from tests.first_day import guide
from tests.first_day.guide import GUIDES, Line
from tests.system.conftest import wait_until
from tests.system.guide_household import GuideHousehold, household

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuideHousehold]:
    for tool in ("age-keygen", "sh", "sed"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: make debian")
    with household(tmp_path_factory.mktemp("guides")) as made:
        yield made


def read(name: str, first: str = "", last: str = "") -> list[Line]:
    lines = guide.read_lines((GUIDES / f"{name}.md").read_text("utf-8"), first, last)
    assert lines
    assert guide.faults(lines, most=40) == []
    return lines


def test_pause(home: GuideHousehold) -> None:
    on, status, off = read("pause")
    home.listen("the speaker kitchen")

    printed = home.type(on)
    shown = home.type(status)

    assert printed.startswith("muted\n")
    assert "hear unmutes in 1 hour" in printed
    assert "hear unmutes in" in shown
    assert "hear      runs" in shown
    assert home.type(off).startswith("not muted\n")


def test_pause_ends_by_itself(home: GuideHousehold) -> None:
    """As the guide's line with a shorter time."""
    (on, *_) = read("pause")
    speaker = home.computer("the speaker kitchen")
    home.listen("the speaker kitchen")

    printed = home.type(Line(on.place, on.text.replace("1h", "3s")))

    assert "hear unmutes in" in printed
    wait_until(lambda: speaker.run("earmark mute status").startswith("not muted\n"), "hear unmuted")


def test_guests(home: GuideHousehold) -> None:
    home.speak("the speaker kitchen")
    before = home.archived()

    home.type_all(read("guests"))

    assert home.archived() == before - 1
    assert home.computer("kitchen").run("earmark mute status").startswith("not muted")


def test_children(home: GuideHousehold) -> None:
    home.type_all(read("children"))
    home.speak("the speaker attic")

    ada = home.computer("ada's computer")
    assert "attic" in ada.run("earmark clips list --home mia")
    assert "attic" not in ada.run("earmark clips list")
    limit = ada.run("earmark clips retention --home mia")
    assert limit.startswith("mia: 1 day")


def test_couple(home: GuideHousehold) -> None:
    def before(line: Line) -> None:
        if line.text.startswith("earmark clips list"):
            home.speak("the speaker kitchen" if "ada" in line.place else "the speaker bedroom")

    home.type_all(read("couple"), before)

    ada, ben = (home.computer(f"{name}'s computer") for name in ("ada", "ben"))
    listed = ada.run("earmark clips list"), ben.run("earmark clips list")
    assert ["bedroom" in text for text in listed] == [False, True]
    assert ["kitchen" in text for text in listed] == [True, False]


def test_moving(home: GuideHousehold) -> None:
    home.speak("the speaker kitchen")
    count = home.archived()
    lines = read("moving")
    speaker = home.computer("the speaker kitchen")
    at = next(n for n, line in enumerate(lines) if "sed" in line.text)
    home.type_all(lines[:at])
    # The old name is not in the certificate any more: the speaker's clip waits.
    speaker.stop("earmark-send")
    home.record("the speaker kitchen")
    code, printed = speaker.ask("earmark send --once --patience 2")
    assert (code, "certificate" in printed) == (69, True), printed

    home.type_all(lines[at:])

    home.host = "127.0.0.3"
    wait_until(lambda: home.archived() > count, "the clip that waited is in the archive")
    assert "kitchen" in home.computer("ada's computer").run("earmark clips list")


def test_backup(home: GuideHousehold) -> None:
    ada = home.computer("ada's computer")
    home.speak("the speaker kitchen")
    home.speak("the speaker kitchen")
    lines = read("backup")
    new = next(n for n, line in enumerate(lines) if line.place == "the new hub")
    after = next(n for n, line in enumerate(lines) if "--receipts" in line.text)
    same = next(n for n in range(after, len(lines)) if lines[n].place == "the hub")

    # A value that the administrator chose by hand, in the archive's configuration.
    chosen = hub_settings(home)
    chosen.write_text(chosen.read_text() + CHOSEN)
    home.type_all(lines[:new])
    clips = _clips(ada.run("earmark clips list"))
    ada.run(f"earmark clips erase --yes {clips[0]}")

    # On the same hub, what is lost returns, and what was erased does not.
    hub = home.computer("the hub")
    (lost,) = (hub.folder / "archive" / "archive" / "clips").rglob(f"{clips[1]}.earmark")
    lost.unlink()
    home.type_all(lines[same:])
    assert _clips(ada.run("earmark clips list")) == clips[1:]

    ada.run("earmark clips log")

    # The old hub is gone; the new one has what the backup has.
    home.broker.kill()
    home.replace("hub", "new hub")
    home.type_all(lines[new:after])
    assert CHOSEN in hub_settings(home, "the new hub").read_text()
    assert _clips(ada.run("earmark clips list")) == clips
    home.computers["hub"] = home.computers.pop("new hub")
    code, printed = ada.ask("earmark clips log")
    assert (code, "the log was changed after it was written" in printed) == (1, True), printed
    home.type_all(lines[after:same])

    assert _clips(ada.run("earmark clips list")) == clips[1:]
    home.speak("the speaker kitchen")
    assert len(_clips(ada.run("earmark clips list"))) == len(clips)


CHOSEN = "clips_per_hour = 599\n"


def hub_settings(home: GuideHousehold, place: str = "the hub") -> Path:
    """The configuration file of the archive; its last section is ``archive``."""
    return home.computer(place).folder / "etc" / "earmark" / "archive.toml"


def _clips(listed: str) -> list[str]:
    return [line.split()[3] for line in listed.splitlines()[1:]]


@pytest.mark.parametrize("name", ["backup", "moving", "couple", "guests", "children", "pause"])
def test_each_line_of_a_guide_is_one_command(name: str) -> None:
    assert read(name)
    assert Path(GUIDES / f"{name}.md").stat().st_size > 1000


def words_of_ada(home: GuideHousehold) -> str:
    """What is printed on ada's recovery sheet."""
    data = (home.computer("ada's computer").person / "ada.key").read_bytes()
    return " ".join(words_of(parse_identities(data, "ada.key")[0]))


def test_new_phone(home: GuideHousehold) -> None:
    home.speak("the speaker kitchen")
    update, switch, restart, ask = read("new-phone")
    ada = home.computer("ada's computer")

    assert "ada-recovery.html" in home.type(update)
    card = parse_card((ada.person / "ada.key").read_bytes(), "ada.key")
    assert "kitchen" in {one.name for one in card.speakers}
    assert card.archive is not None
    home.type(switch)
    home.type(restart)
    # The archive that starts answers at its socket before its port does.
    wait_until(lambda: ada.ask(home.fill(ask.text, ada))[0] == 0, "the archive answers")
    assert home.type(ask) == "200\n"

    assert "kitchen" in ada.run("earmark clips list")


def test_lost_phone(home: GuideHousehold) -> None:
    home.speak("the speaker kitchen")
    ada = home.computer("ada's computer")
    before = parse_card((ada.person / "ada.key").read_bytes(), "ada.key")

    home.type_all(read("lost-phone"))

    after = parse_card((ada.person / "ada.key").read_bytes(), "ada.key")
    assert after.identities[1:] == before.identities
    assert after.owner == "ada"
    assert after.identities[0].okey in ada.run("earmark clips keys")
    home.speak("the speaker kitchen")  # it waits until the speaker has the next key
    assert "closed" not in ada.run("earmark clips list --open")
    sheet = (ada.person / "ada-recovery.html").read_bytes()
    assert read_sheet(sheet, "sheet").identities == after.identities[:1]


def test_lost_key(home: GuideHousehold) -> None:
    home.speak("the speaker kitchen")
    by_words, listing, by_copy = read("lost-key")
    ada = home.computer("ada's computer")
    made = ada.run("earmark owner key update ada.key --json")
    kept = (ada.person / "ada.key").read_bytes()
    typed = words_of_ada(home)
    ada.run("rm ada.key")

    assert "wrote ada.key" in home.type(by_words, typed)
    assert "kitchen" in home.type(listing)
    ada.run("rm ada.key")
    # As the guide's line, without the question: getpass discards what was typed before it.
    (ada.person / "passphrase").write_text(json.loads(made)["passphrase"], "utf-8")
    answered = f"{by_copy.text} --passphrase-file passphrase"
    assert "wrote ada.key" in home.type(Line(by_copy.place, answered))

    restored = parse_identities((ada.person / "ada.key").read_bytes(), "ada.key")
    assert restored == parse_identities(kept, "ada.key")


def test_recovery_sheet(home: GuideHousehold) -> None:
    home.speak("the speaker kitchen")
    check, update, check_file = read("recovery-sheet")

    printed = home.type(check, words_of_ada(home))
    home.type(update)

    assert "the sheet opens clips of ada" in printed
    assert "at kitchen" in printed
    assert "the sheet opens clips of ada" in home.type(check_file)
