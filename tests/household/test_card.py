from pathlib import Path

import pyrage
import pytest

from listener.firstboot import plan
from tests.household.guests import Earmark

KEY = str(pyrage.x25519.Identity.generate().to_public())


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "bootfs"
    folder.mkdir()
    return folder


def read(card: Path) -> plan.FirstBootPlan:
    return plan.parse(plan.parse_tables((card / "earmark.toml").read_text(), "card"), "card")


def test_a_card_is_written_as_the_speaker_takes_it(ready: Earmark, card: Path) -> None:
    ready("owner", "add", "ada", "--key", KEY)
    words = ("household", "add-device", "hall", "--no-wait", "--card", str(card))

    code, out, err = ready(*words, "--keeper", "ada")

    assert code == 0
    assert "is written" in err
    found = read(card)
    assert found.line is not None
    assert found.line.line() == out.strip()
    assert (found.owner.name, found.owner.key) == ("ada", KEY)
    assert ready(*words)[0] == 2, "a card is not written over"


def test_without_a_keeper_it_holds_the_line_alone(ready: Earmark, card: Path) -> None:
    assert ready("household", "add-device", "hall", "--no-wait", "--card", str(card))[0] == 0

    assert read(card).owner.name is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--keeper", "ada"), "--card DIR"),
        (("--card", "/nowhere"), "no folder /nowhere"),
        (("--card", ".", "--keeper", "eve"), "no owner 'eve'"),
    ],
)
def test_what_makes_no_card_invites_nobody(
    more: tuple[str, ...], why: str, ready: Earmark, home: Path
) -> None:
    ready("owner", "add", "ada", "--key", KEY)
    before = (home / "household" / "register.json").read_bytes()

    code, _, err = ready("household", "add-device", "hall", "--no-wait", *more)

    assert code == 2
    assert why in err
    assert (home / "household" / "register.json").read_bytes() == before


def test_a_card_that_cannot_be_written_is_said(ready: Earmark, card: Path) -> None:
    (card / "earmark.toml").symlink_to("/nowhere/at/all")

    code, _, err = ready("household", "add-device", "hall", "--no-wait", "--card", str(card))

    assert code == 69
    assert "cannot write" in err
