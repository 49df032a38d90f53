"""``earmark owner voice`` at the speaker: off always, on with the owner's proof."""

import time
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.storage.home import Home
from listener.voice.consent_table import ConsentTable, KeptConsent
from tests.household.guests import meet

Earmark = Callable[..., tuple[int, str, str]]
ASSIST, OTHER = (
    keys.device_text(Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32).public_key())
    for at in (1, 2)
)


@pytest.fixture
def ada() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def speaker(home: Path, ada: pyrage.x25519.Identity) -> Home:
    """A speaker with the active owner ada."""
    made = Home(home)
    made.device_key()
    made.change_roster(
        lambda roster: (
            roster.with_owner("ada", str(ada.to_public()))
            .with_challenge("ada", "x", 0)
            .with_confirmation("ada", "x", 0)
        )
    )
    return made


def kept(speaker: Home) -> KeptConsent | None:
    return speaker.consents().of_active_keys(speaker.roster()).get("ada")


def answer_to(said: tuple[int, str, str], identity: pyrage.x25519.Identity) -> str:
    assert said[0] == 0, said[2]
    return bytes(pyrage.decrypt(said[1].encode(), [identity])).decode()


def test_on_needs_the_answer_of_the_owner(
    earmark: Earmark, speaker: Home, ada: pyrage.x25519.Identity
) -> None:
    on = ("owner", "voice", "on", "ada", "--assist", ASSIST)
    asked = earmark(*on)
    fingerprint = keys.device_id(keys.parse_device(ASSIST))

    assert asked[1].startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert fingerprint in asked[2]
    assert speaker.consents() == ConsentTable()
    wrong = earmark(*on, "--answer", "ada:yes")
    assert (wrong[0], "not the answer" in wrong[2]) == (1, True)
    other = earmark(
        "owner", "voice", "on", "ada", "--assist", OTHER, "--answer", answer_to(asked, ada)
    )
    assert (other[0], "not the answer" in other[2]) == (1, True)
    assert speaker.consents() == ConsentTable()

    given = earmark(*on, "--answer", answer_to(asked, ada))

    assert given[0] == 0, given[2]
    one = kept(speaker)
    assert one is not None
    assert (one.assist, one.on) == (ASSIST, 1)
    assert one.n >= int(time.time()) - 3600
    assert speaker.consents().counting(speaker.roster(), "ada").keys() == {"ada"}


def test_answer_counts_once(earmark: Earmark, speaker: Home, ada: pyrage.x25519.Identity) -> None:
    """An answer that somebody noted down does not switch on again after an off."""
    on = ("owner", "voice", "on", "ada", "--assist", ASSIST)
    answer = answer_to(earmark(*on), ada)
    assert earmark(*on, "--answer", answer)[0] == 0
    assert earmark("owner", "voice", "off", "ada")[0] == 0

    again = earmark(*on, "--answer", answer)

    assert (again[0], "was used" in again[2]) == (1, True)
    one = kept(speaker)
    assert one is not None
    assert one.on == 0


def test_off_works_without_a_proof_and_without_an_earlier_consent(
    earmark: Earmark, speaker: Home
) -> None:
    said = earmark("owner", "voice", "off", "ada")

    assert (said[0], said[1].splitlines()[0]) == (0, "voice control of ada is off at this speaker")
    one = kept(speaker)
    assert one is not None
    assert one.on == 0
    assert speaker.path.joinpath("consent.json").stat().st_mode & 0o777 == 0o600


def test_off_works_for_an_owner_who_was_removed(earmark: Earmark, speaker: Home) -> None:
    okey = speaker.roster().known_owner("ada").okey
    on = KeptConsent(assist=ASSIST, n=5, okey=okey, on=1, owner="ada")
    speaker.change_roster(lambda roster: roster.without_owner("ada"))
    speaker.change_consents(lambda _: ConsentTable((on,)))

    assert earmark("owner", "voice", "off", "ada")[0] == 0

    (one,) = speaker.consents().kept
    assert (one.on, one.n > 5) == (0, True)
    unknown = earmark("owner", "voice", "off", "eve")
    assert (unknown[0], "there is no owner 'eve'" in unknown[2]) == (2, True)


def test_forgotten_owner_who_returns_with_the_same_key_is_off(
    earmark: Earmark, speaker: Home, ada: pyrage.x25519.Identity
) -> None:
    on = ("owner", "voice", "on", "ada", "--assist", ASSIST)
    assert earmark(*on, "--answer", answer_to(earmark(*on), ada))[0] == 0

    assert earmark("owner", "forget", "ada")[0] == 0
    speaker.change_roster(
        lambda roster: (
            roster.with_owner("ada", str(ada.to_public()))
            .with_challenge("ada", "x", 0)
            .with_confirmation("ada", "x", 0)
        )
    )

    assert speaker.consents().counting(speaker.roster(), "ada") == {}


def test_on_names_the_keeper_who_decides_too(
    earmark: Earmark, speaker: Home, ada: pyrage.x25519.Identity
) -> None:
    config = speaker.path / "bob.toml"
    config.write_text('[attribution]\nkeeper = "bob"\n')
    on = ("owner", "--config", str(config), "voice", "on", "ada", "--assist", ASSIST)
    answer = answer_to(earmark(*on), ada)

    assert "the keeper, bob, has named the same assist" in earmark(*on, "--answer", answer)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["on", "ada"], "read the key off the hub's own screen"),
        (["on", "eve", "--assist", ASSIST], "there is no owner"),
        (["on", "new", "--assist", ASSIST], "has not confirmed their key"),
        (["on", "ada", "--assist", "ed25519:AAAA"], "key"),
    ],
)
def test_on_without_what_it_needs_is_refused(
    earmark: Earmark, speaker: Home, words: list[str], message: str
) -> None:
    fresh = str(pyrage.x25519.Identity.generate().to_public())
    speaker.change_roster(lambda roster: roster.with_owner("new", fresh))

    code, out, err = earmark("owner", "voice", *words)

    assert (code != 0, out) == (True, "")
    assert message in err
    assert speaker.consents() == ConsentTable()


def test_archives_computer_is_not_a_speaker(earmark: Earmark, home: Path) -> None:
    for words in (["off", "ada"], ["on", "ada", "--assist", ASSIST]):
        code, _, err = earmark("owner", "voice", *words)
        assert (code, "is not the data directory of a speaker" in err) == (2, True)
    assert not (home / "device.key").exists()


def test_joining_a_household_brings_no_consent(
    ready: Earmark, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the invitation nor what a speaker gets when it joins names an assist."""
    line = ready("household", "add-device", "hall", "--no-wait")[1]
    (tmp_path / "line").write_text(line)
    guest = tmp_path / "guest"
    words = ("--home", str(guest), "join", str(tmp_path / "line"))

    assert meet(ready, capsys, *words, "--settings", str(tmp_path / "guest.toml"))[0] == (0, 0)

    assert Home(guest).consents() == ConsentTable()
    files = {path.name for folder in (home, guest) for path in folder.rglob("*")}
    assert not files & {"consent.json", "consents.json"}
    assert "assist" not in (tmp_path / "guest.toml").read_text()
