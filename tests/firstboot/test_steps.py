"""A card that is carried to and fro, and a household that really answers."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from listener.firstboot import plan
from listener.firstboot.partition import CHALLENGE, NAME, RESULT
from listener.household import identity
from listener.household.invitation import Invitation
from tests.firstboot.cards import Card
from tests.household.guests import Host

pytestmark = pytest.mark.system  # a real household answers

HALL = identity.device("hall")


@pytest.fixture
def card(tmp_path: Path) -> Card:
    made = Card(tmp_path / "card")
    made.folder.mkdir()
    (made.folder / "etc").mkdir()
    return made


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "household")
    yield made
    made.end()


def household(line: Invitation) -> str:
    return f'[household]\nline = "{line.line()}"\n'


def test_empty_card_is_left_unchanged(card: Card) -> None:
    card.boot.mkdir()

    assert card.start() == 0
    assert list(card.boot.iterdir()) == []
    assert not card.settings_file.exists()


def test_speaker_is_set_up_without_keyboard_or_network(card: Card) -> None:
    card.write(f'{card.keys}[device]\nname = "kitchen"\n[wake]\nwords = ["hey-jarvis"]\n')

    assert card.start() == 0

    assert (card.settings.device.name, card.settings.wake.words) == ("kitchen", ("hey-jarvis",))
    assert card.settings.home == str(card.home.path)
    assert card.settings.attribution.keeper == "ada"
    assert {path.name for path in card.boot.iterdir()} == {RESULT, CHALLENGE}
    assert "one step is left for you" in card.words
    assert "\n        age -d -i ada.key earmark-challenge.txt\n" in card.result
    assert "public key: ed25519:" in card.words
    assert card.owner is not None
    assert not card.owner.active

    card.write(card.answer())
    assert card.start() == 0

    assert card.owner is not None
    assert card.owner.active
    assert {path.name for path in card.boot.iterdir()} == {RESULT}
    assert "this speaker is set up" in card.words
    assert "their key is active" in card.words
    assert card.home.keeper("ada") == "ada"


def test_second_start_changes_nothing(card: Card) -> None:
    card.write(card.keys)
    card.start()
    before = {path: path.stat().st_mtime_ns for path in card.folder.rglob("*") if path.is_file()}

    assert card.start() == 0

    after = {path: path.stat().st_mtime_ns for path in card.folder.rglob("*") if path.is_file()}
    assert after == before


def test_same_card_again_keeps_key_and_challenge(card: Card) -> None:
    card.write(card.keys)
    card.start()
    challenge, key = (card.boot / CHALLENGE).read_bytes(), card.home.device_key().public_key()

    card.write(card.keys)
    (card.boot / CHALLENGE).unlink()
    assert card.start() == 0

    assert (card.boot / CHALLENGE).read_bytes() == challenge
    assert card.home.device_key().public_key() == key


def test_wrong_file_stays_and_nothing_is_applied(card: Card) -> None:
    text = f'{card.keys}[wake]\nword = "hey-jarvis"\n'
    card.write(text)

    assert card.start() == 78

    assert (card.boot / NAME).read_text() == text
    assert "unknown key wake.word" in card.words
    assert "did you mean wake.words?" in card.words
    assert "Nothing of it was applied" in card.words
    assert not card.settings_file.exists()
    assert card.owner is None

    card.write(text.replace("word =", "words =").replace('"hey-jarvis"', '["hey-jarvis"]'))
    assert card.start() == 0
    assert "one step is left" in card.words


@pytest.mark.parametrize("data", ["", " \n", "# nothing\n"])
def test_empty_file_is_an_error(data: str, card: Card) -> None:
    card.write(data, "earmark.toml.txt")

    assert card.start() == 78
    assert "earmark.toml.txt is empty" in card.words


def test_existing_settings_stay_unless_replaced(card: Card) -> None:
    before = '# fitted by hand\nhome = "/var/lib/earmark"\n[mute]\nswitch = "input"\n'
    card.settings_file.write_text(before)
    card.write("[clip]\nkeep_days = 7\n[mute]\ndebounce_ms = 20\n")

    assert card.start() == 0

    assert card.settings.home == "/var/lib/earmark"
    assert (card.settings.mute.switch, card.settings.mute.debounce_ms) == ("input", 20)
    assert card.settings.clip.keep_days == 7
    assert card.settings_file.with_name("earmark.toml.before").read_text() == before


def test_contradiction_with_existing_settings_is_an_error(card: Card) -> None:
    before = '[mute]\nswitch = "gpio"\nline = 27\n[chime]\non_wake = false\n[clip]\nring_s = 1.5\n'
    card.settings_file.write_text(before)
    card.write(
        "[chime]\non_wake = true\n[clip]\npre_roll_s = 0\n[wake.thresholds]\nhey-jarvis = 0.5"
    )

    assert card.start() == 78
    assert "wake.thresholds has hey-jarvis" in card.words
    assert card.settings_file.read_text() == before


def test_wrong_answer_keeps_the_challenge(card: Card) -> None:
    card.write(card.keys)
    card.start()
    challenge = (card.boot / CHALLENGE).read_bytes()

    card.write('[owner]\nanswer = "ada:wrong"\n')
    assert card.start() == 1

    assert "this is not ada's answer" in card.words
    assert (card.boot / CHALLENGE).read_bytes() == challenge
    assert not (card.boot / NAME).exists()
    card.write(card.answer())
    assert card.start() == 0


def test_unconfirmed_key_is_corrected_by_the_next_file(card: Card) -> None:
    card.write(card.keys.replace(str(card.ada.to_public()), another()))
    card.start()

    card.write(card.keys)
    assert card.start() == 0
    card.write(card.answer())

    assert card.start() == 0
    assert card.home.keeper("ada") == "ada"


def test_key_of_an_active_owner_is_not_replaced(card: Card) -> None:
    card.write(card.keys)
    card.start()
    card.write(card.answer())
    card.start()

    card.write(card.keys.replace(str(card.ada.to_public()), another()))
    code = card.start()

    assert code == 1
    assert "ada has another key" in card.words
    assert card.owner is not None
    assert card.owner.recipient == str(card.ada.to_public())


def test_speaker_joins_with_its_invitation(card: Card, host: Host) -> None:
    waiting = host.wait(HALL)
    card.write(household(host.invite(HALL)) + card.keys)

    assert card.start() == 0

    assert waiting.result(30)
    assert "joined the household as d-hall" in card.words
    assert card.settings.device.name == "hall"
    assert card.settings.broker.host == "home.lan"
    assert card.settings.broker.key_file == str(card.home.path / "tls" / "me.key")
    key = card.home.device_key().public_key()
    assert host.home.roster().device_keys() == {"hall": key}


def test_unavailable_household_is_retried(card: Card, host: Host) -> None:
    invited = host.invite(HALL)
    host.server.close()
    card.write(household(invited) + card.keys)

    assert card.start() == 69

    assert "the setup is not complete yet" in card.words
    assert "cannot join at 127.0.0.1" in card.words
    assert card.settings.attribution.keeper == "ada", "what needs no network is done"
    assert invited.line().encode() not in card.everything()
    assert invited.token.encode() not in card.everything()

    # The answer comes meanwhile, and nothing of the first card is forgotten.
    card.write(card.answer())
    assert card.start() == 69
    assert card.home.keeper("ada") == "ada"
    host.server = type(host.server)(host.store, host.home, ("127.0.0.1", invited.port))
    waiting = host.wait(HALL)
    assert card.start() == 0
    assert waiting.result(30)
    assert "this speaker is set up" in card.words
    assert card.start() == 0


def test_used_invitation_is_an_error_and_not_retried(card: Card, host: Host) -> None:
    invited = host.invite(HALL)
    waiting = host.wait(identity.owner("ada"))
    other = Card(card.folder.parent / "other")
    (other.folder / "etc").mkdir(parents=True)
    other.write(household(invited))
    assert other.start() == 0

    card.write(household(invited) + card.keys)
    assert card.start() == 1

    assert "the household refused" in card.words
    assert "get a new invitation" in card.words
    assert card.start() == 0, "nothing waits"
    host.stop.request()
    assert not waiting.result(30)


def test_no_secret_is_left_on_the_partition(card: Card, host: Host) -> None:
    host.wait(HALL)
    invited = host.invite(HALL)
    card.write(household(invited) + card.keys)
    card.start()
    answer = card.answer().split('"')[1]
    card.write(card.answer())
    card.start()

    left = card.everything()

    for secret in (invited.token, invited.line(), answer):
        assert secret.encode() not in left
    assert b"PRIVATE KEY" not in left
    folder = card.settings_file.parent / "first-boot"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


def another() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 990 + " = 1",
        "a" + ".a" * 30_000 + " = 1",
        "[wake.thresholds.a]\nb = 1",
        "x = " + "{a=" * 3_000 + "1" + "}" * 3_000,
        "[wake]\nwords = " + "[" * 200 + "]" * 200,
    ],
)
def test_deep_tables_are_refused_with_a_result(text: str, card: Card) -> None:
    card.write(text)

    assert card.start() == 78

    assert "there is an error" in card.words
    assert (card.boot / NAME).exists()
    assert not card.settings_file.exists()


def test_unexpected_error_is_reported_with_a_result(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(plan, "parse", fail)
    card.write("[clip]\nkeep_days = 7\n")

    assert card.start() == 78
    assert "the file cannot be used: ZeroDivisionError" in card.words


def test_keeper_must_be_an_owner_of_this_speaker(card: Card) -> None:
    card.write('[attribution]\nkeeper = "eve"\n')

    assert card.start() == 78
    assert "does not know an owner eve" in card.words
    assert not card.settings_file.exists()

    card.write(card.keys)
    assert card.start() == 0
    card.write('[attribution]\nkeeper = "ada"\n')
    assert card.start() == 0
    assert card.settings.attribution.keeper == "ada"


FITTED = '[mute]\nswitch = "input"\ninput = "/dev/input/earmark-mute"\n'


@pytest.mark.parametrize(
    "line",
    [
        'switch = "none"',
        'switch = "gpio"\nline = 3',
        'input = "/dev/input/event0"',
        'shut_level = "high"',
        "debounce_ms = 1000",
        "remote_unmute = true",
        'other_microphones = "allow"',
    ],
)
def test_card_takes_no_protection_from_a_fitted_switch(line: str, card: Card) -> None:
    card.settings_file.write_text(FITTED)
    card.write(f"[mute]\n{line}\n")

    assert card.start() == 78

    assert "cannot be changed here: this speaker has a mute switch" in card.words
    assert card.settings_file.read_text() == FITTED


@pytest.mark.parametrize("line", ["remote_unmute = false", 'other_microphones = "refuse"'])
def test_card_may_add_protection_to_a_fitted_switch(line: str, card: Card) -> None:
    weak = FITTED + 'remote_unmute = true\nother_microphones = "allow"\n'
    card.settings_file.write_text(weak)
    card.write(f"[mute]\n{line}\n")

    assert card.start() == 0

    mute = card.settings.mute
    assert (mute.remote_unmute, mute.other_microphones) != (True, "allow")


@pytest.mark.parametrize("before", ["", '[mute]\nswitch = "none"\n'])
@pytest.mark.parametrize("switch", ["none", "input"])
def test_card_sets_up_a_speaker_without_a_switch(before: str, switch: str, card: Card) -> None:
    if before:
        card.settings_file.write_text(before)
    card.write(f'[mute]\nswitch = "{switch}"\nremote_unmute = true\n')

    assert card.start() == 0
    assert (card.settings.mute.switch, card.settings.mute.remote_unmute) == (switch, True)


TOML = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)
SECTIONS = st.sampled_from(
    ["mute", "attribution", "wake", "clip", "owner", "household", "device", "broker", "x"]
)


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_bytes_on_a_card_end_with_an_exit_code_and_a_result(data: bytes) -> None:
    _start_with(data)


@given(st.dictionaries(SECTIONS, TOML, min_size=1, max_size=4))
def test_any_tables_on_a_card_end_with_an_exit_code_and_a_result(tables: dict[str, Any]) -> None:
    _start_with(tomli_w.dumps(tables).encode("utf-8", "surrogatepass"))


def _start_with(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        card = Card(Path(folder))
        (card.folder / "etc").mkdir()
        card.boot.mkdir()
        card.settings_file.write_text(FITTED)
        (card.boot / NAME).write_bytes(data)

        code = card.start()

        assert code in {0, 1, 69, 78}
        assert card.result
        mute = card.settings.mute
        assert (mute.switch, mute.remote_unmute, mute.other_microphones) == (
            *("input", False),
            "refuse",
        )


def test_file_of_almost_the_right_name_is_reported_on_the_card(card: Card) -> None:
    card.write(card.keys, "earmark (1).toml")

    assert card.start() == 78

    assert "there is no file earmark.toml on this card" in card.words
    assert "earmark (1).toml" in card.words
    assert not card.settings_file.exists()
    assert card.start() == 78

    (card.boot / "earmark (1).toml").rename(card.boot / NAME)
    assert card.start() == 0


def test_almost_right_name_beside_the_right_one_is_not_reported(card: Card) -> None:
    card.write(card.keys)
    (card.boot / "earmark (1).toml").write_text(card.keys)

    assert card.start() == 0
    assert "earmark (1)" not in card.words
