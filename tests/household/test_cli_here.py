"""The speaker on the hub's own board, and what add-device writes to a speaker's card."""

from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from listener.cli import household_speaker
from listener.config import Config, parse_settings
from listener.errors import EarmarkError
from listener.firstboot import plan
from listener.household import identity
from listener.household.state import HouseholdStore
from listener.owner.roster import Roster
from listener.storage.home import Home

pytestmark = pytest.mark.system

Earmark = Callable[..., tuple[int, str, str]]
KEY = str(pyrage.x25519.Identity.generate().to_public())
OTHER = str(pyrage.x25519.Identity.generate().to_public())


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The configuration that install.sh has written for a speaker on this board."""
    path = tmp_path / "etc" / "earmark.toml"
    path.parent.mkdir()
    path.write_text(f'home = "{tmp_path / "speaker"}"\n[mute]\nswitch = "none"\n')
    return path


def read(settings: Path) -> Config:
    return parse_settings(settings.read_text(), "settings")


def speaker(settings: Path) -> Home:
    return Home(Path(read(settings).home))


def test_speaker_on_the_hub_joins_without_a_line_or_a_port(
    ready: Earmark, home: Path, settings: Path
) -> None:
    words = ("household", "add-device", "hall", "--here", "--settings", str(settings))

    code, out, err = ready(*words, "--keeper", "ada", "--keeper-key", KEY, "--word", "alexa")

    assert code == 0, err
    assert "earmark-join-1:" not in out
    found = read(settings)
    assert (found.device.name, found.wake.words) == ("hall", ("alexa",))
    assert (found.attribution.keeper, found.mute.switch) == ("ada", "none")
    assert found.broker.host == "localhost"
    assert Path(found.broker.certificate_file or "").is_file()
    roster = Home(home).roster()
    assert "hall" in roster.device_keys()
    store = HouseholdStore(home)
    assert identity.device("hall") in store.registry().valid(int(store.now().timestamp()))
    # A key that its owner has not confirmed is inactive in both rosters.
    assert not roster.known_owner("ada").active
    assert not speaker(settings).roster().known_owner("ada").active
    assert "ada is inactive" in out
    assert "earmark household add-owner ada --bundle ada.bundle\n" in out
    assert "age -d" not in out


def test_speaker_on_the_hub_takes_over_a_confirmed_keeper(
    ready: Earmark, home: Path, settings: Path
) -> None:
    Home(home).change_roster(lambda roster: confirmed(roster, KEY))
    words = ("household", "add-device", "hall", "--here", "--settings", str(settings))

    code, out, _ = ready(*words, "--keeper", "ada")
    again, _, _ = ready(*words, "--keeper", "ada")

    assert (code, again) == (0, 0)
    assert "inactive" not in out
    assert speaker(settings).roster().known_owner("ada").active
    assert speaker(settings).keeper("ada") == "ada"


def confirmed(roster: Roster, key: str) -> Roster:
    roster = roster.with_owner("ada", key).with_challenge("ada", "ada:answer", 1000)
    return roster.with_confirmation("ada", "ada:answer", 1000)


def test_another_active_key_of_the_keeper_is_not_replaced(home: Path) -> None:
    keeper = confirmed(Home(home).roster(), OTHER).known_owner("ada")

    with pytest.raises(EarmarkError):
        household_speaker.with_confirmed(confirmed(Home(home).roster(), KEY), keeper)


def test_without_a_speaker_here_nothing_is_invited(
    ready: Earmark, home: Path, tmp_path: Path
) -> None:
    before = (home / "household" / "register.json").read_bytes()

    code, _, err = ready(
        "household", "add-device", "hall", "--here", "--settings", str(tmp_path / "none.toml")
    )

    assert code == 78
    assert "install.sh --hub --speaker" in err
    assert (home / "household" / "register.json").read_bytes() == before


def test_card_has_microphone_switch_and_words(ready: Earmark, tmp_path: Path) -> None:
    card = tmp_path / "bootfs"
    card.mkdir()

    code, _, _ = ready(
        *("household", "add-device", "hall", "--no-wait", "--card", str(card)),
        *("--keeper", "ada", "--keeper-key", KEY, "--microphone", "usb", "--no-switch"),
        *("--word", "alexa", "--word", "hey-jarvis"),
    )

    text = (card / "earmark.toml").read_text()
    found = plan.parse(plan.parse_tables(text, "card"), "card")
    assert code == 0
    assert (found.owner.name, found.owner.key) == ("ada", KEY)
    assert found.settings["microphone"] == {"device": "usb"}
    assert found.settings["mute"] == {"switch": "none"}
    assert found.settings["wake"] == {"words": ["alexa", "hey-jarvis"]}


@pytest.mark.parametrize(
    "words",
    [
        ("--microphone", "usb"),
        ("--switch",),
        ("--no-switch",),
        ("--word", "alexa"),
        ("--keeper-key", KEY),
        ("--settings", "earmark.toml"),
        ("--here", "--card", "."),
        ("--here", "--switch", "--no-switch"),
    ],
)
def test_option_without_effect_is_a_usage_error(
    ready: Earmark, home: Path, words: tuple[str, ...]
) -> None:
    before = (home / "household" / "register.json").read_bytes()

    code, _, _ = ready("household", "add-device", "hall", "--no-wait", *words)

    assert code == 2
    assert (home / "household" / "register.json").read_bytes() == before
