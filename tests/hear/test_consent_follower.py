"""Consents that send stores, verified and kept by hear."""

import os
import stat
from typing import TYPE_CHECKING

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.errors import Unavailable
from listener.hear.consent_follower import ConsentFollower
from listener.storage.atomic import hold_lock
from listener.storage.home import Home
from listener.voice.consent import Consent, encode_consents, make_consent
from listener.voice.consent_table import KeptConsent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Household

ASSIST, OTHER = (keys.device_text(Ed25519PrivateKey.generate().public_key()) for _ in range(2))


def identity(secret: str | None = None) -> Identity:
    text = secret or str(pyrage.x25519.Identity.generate())
    return parse_identities(text.encode(), "a test")[0]


class Speaker:
    """Hear's part of a speaker named "hall" whose keeper is Ada."""

    def __init__(self, household: "Household") -> None:
        self.household = household
        self.home = household.home
        self.ada, self.bob = (identity(household.identities[name]) for name in ("ada", "bob"))
        self.chores: list[Callable[[], object]] = []
        self.follower = self.start()
        (self.home.path / "spool").mkdir(exist_ok=True)

    def start(self) -> ConsentFollower:
        return ConsentFollower(
            self.home, "hall", self.household.device_key, "ada", self.chores.append
        )

    def make(self, owner: Identity | None = None, **fields: object) -> Consent:
        owner = owner or self.ada
        name = "ada" if owner is self.ada else "bob"
        bare = Consent(assist=ASSIST, device="hall", n=1, okey=owner.okey, on=1, owner=name)
        bare = msgspec.structs.replace(bare, **fields)
        return make_consent(bare, owner.agreement(), self.household.device_key.public_key())

    def lay(self, *consents: Consent) -> None:
        self.lay_bytes(encode_consents(consents))

    def lay_bytes(self, data: bytes) -> None:
        path = self.home.path / "spool" / "consents.json"
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").replace(path)

    def follow(self) -> dict[str, int]:
        """Follow, write what is to be written, and return the numbers that count, by owner."""
        self.follower.follow()
        while self.chores:
            self.chores.pop(0)()
        self.follower.follow()
        return {name: one.n for name, one in self.follower.counting.items()}

    def kept(self) -> tuple[KeptConsent, ...]:
        return self.home.consents().kept


@pytest.fixture
def speaker(household: "Household") -> Speaker:
    return Speaker(household)


def test_proven_consent_counts_and_is_kept_for_hear_alone(speaker: Speaker) -> None:
    assert speaker.follow() == {}

    speaker.lay(speaker.make())

    assert speaker.follow() == {"ada": 1}
    (kept,) = speaker.kept()
    assert (kept.owner, kept.assist, kept.n, kept.on) == ("ada", ASSIST, 1, 1)
    mode = (speaker.home.path / "consent.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    (speaker.home.path / "spool" / "consents.json").unlink()
    speaker.follower = speaker.start()
    assert speaker.follow() == {"ada": 1}, "a message that is gone changes nothing"


def test_consent_counts_before_it_is_written(speaker: Speaker) -> None:
    speaker.lay(speaker.make())

    assert speaker.follower.follow()
    assert list(speaker.follower.counting) == ["ada"]
    assert speaker.kept() == ()
    assert not speaker.follower.follow(), "nothing has changed since"


def test_older_consent_does_not_return(speaker: Speaker) -> None:
    on, off = speaker.make(n=4), speaker.make(n=5, on=0)
    speaker.lay(on)
    assert speaker.follow() == {"ada": 4}
    speaker.lay(off)
    assert speaker.follow() == {}

    speaker.lay(on)
    assert speaker.follow() == {}
    speaker.follower = speaker.start()
    assert speaker.follow() == {}
    assert speaker.follower.ignored == 1


def test_off_at_the_speaker_counts_though_the_message_stays(speaker: Speaker) -> None:
    speaker.lay(speaker.make(n=4))
    speaker.follow()

    speaker.home.change_consents(lambda table: table.withdrawn("ada", 100))

    assert speaker.follow() == {}
    assert speaker.follower.active["ada"].n == 100
    speaker.lay(speaker.make(n=100))
    assert speaker.follow() == {}, "one that was withheld until now"
    speaker.lay(speaker.make(n=101))
    assert speaker.follow() == {"ada": 101}


def refused(speaker: Speaker) -> dict[str, Consent]:
    true = speaker.make()
    replace = msgspec.structs.replace
    return {
        "no proof": replace(true, code="A" * 43 + "="),
        "another's proof": replace(true, code=speaker.make(speaker.bob).code),
        "another assist": replace(true, assist=OTHER),
        "another number": replace(true, n=2),
        "another device": speaker.make(device="bath"),
        "another owner": replace(true, owner="bob"),
        "unknown owner": replace(true, owner="eve"),
        "another key": replace(true, okey=speaker.bob.okey),
        "on for off": replace(speaker.make(on=0), on=1),
    }


@pytest.mark.parametrize(
    "name",
    [
        "no proof",
        "another's proof",
        "another assist",
        "another number",
        "another device",
        "another owner",
        "unknown owner",
        "another key",
        "on for off",
    ],
)
def test_consent_that_is_not_proven_to_this_speaker_is_ignored(
    speaker: Speaker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    speaker.lay(refused(speaker)[name])

    assert speaker.follow() == {}
    assert speaker.kept() == ()
    assert speaker.follower.ignored == 1
    assert "1 consents to voice control are ignored" in caplog.text


@pytest.mark.parametrize("data", [b"", b"\xff", b"[", b"[" * 7_000, b"x" * 9_000, b"{}"])
def test_message_that_is_none_changes_nothing(speaker: Speaker, data: bytes) -> None:
    speaker.lay(speaker.make())
    assert speaker.follow() == {"ada": 1}

    speaker.lay_bytes(data)

    assert speaker.follow() == {"ada": 1}


def test_pipe_in_the_place_of_the_message_does_not_stop_hear(speaker: Speaker) -> None:
    os.mkfifo(speaker.home.path / "spool" / "consents.json")

    assert speaker.follow() == {}


def test_keeper_chooses_the_assist_of_their_speaker(speaker: Speaker) -> None:
    bob = speaker.make(speaker.bob)
    speaker.lay(bob)
    assert speaker.follow() == {}, "the keeper chose none"

    speaker.lay(bob, speaker.make(on=0))
    assert speaker.follow() == {"bob": 1}, "each owner chooses for themselves"
    speaker.lay(bob, speaker.make(n=2, assist=OTHER))
    assert speaker.follow() == {"ada": 2}
    speaker.lay(speaker.make(speaker.bob, n=2, assist=OTHER), speaker.make(n=2, assist=OTHER))
    assert speaker.follow() == {"ada": 2, "bob": 2}


def test_new_key_of_the_owner_voids_the_consent(speaker: Speaker) -> None:
    speaker.lay(speaker.make(n=3))
    assert speaker.follow() == {"ada": 3}
    new = identity()

    speaker.home.change_roster(lambda roster: roster.with_new_key("ada", new.recipient))
    assert speaker.follow() == {}
    assert speaker.follower.active == {}

    fresh = Consent(assist=ASSIST, device="hall", n=1, okey=new.okey, on=1, owner="ada")
    public = speaker.household.device_key.public_key()
    speaker.lay(make_consent(fresh, new.agreement(), public))
    assert speaker.follow() == {"ada": 1}


def test_removed_owner_has_no_consent(speaker: Speaker) -> None:
    speaker.lay(speaker.make())
    assert speaker.follow() == {"ada": 1}

    speaker.home.change_roster(lambda roster: roster.without_owner("ada"))

    assert speaker.follow() == {}


@pytest.mark.parametrize("name", ["consent.json", "roster.json"])
def test_damaged_file_means_no_consent_until_it_is_repaired(
    speaker: Speaker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    speaker.lay(speaker.make())
    assert speaker.follow() == {"ada": 1}
    path: Path = speaker.home.path / name
    whole = path.read_bytes()

    path.write_bytes(b"{")
    assert speaker.follow() == {}
    assert caplog.text.count("no consent to voice control counts") == 1
    path.write_bytes(whole)

    assert speaker.follow() == {"ada": 1}


def test_off_at_the_speaker_outlives_a_damaged_table(speaker: Speaker) -> None:
    """The archive still has the consent of before, which its owner ended at the speaker only."""
    before = speaker.make()
    speaker.lay(before)
    assert speaker.follow() == {"ada": 1}
    speaker.home.change_consents(lambda table: table.withdrawn("ada", 100))
    assert speaker.follow() == {}
    table = speaker.home.path / "consent.json"

    table.write_bytes(b"{")
    assert speaker.follow() == {}
    table.unlink()
    speaker.follower = speaker.start()
    assert speaker.follow() == {}, "the consent of before is below the off"
    speaker.lay(speaker.make(n=101))

    assert speaker.follow() == {"ada": 101}
    assert {one.on for one in speaker.kept()} == {1}


def test_damaged_table_of_offs_means_no_consent(speaker: Speaker) -> None:
    speaker.lay(speaker.make())
    assert speaker.follow() == {"ada": 1}
    speaker.home.change_consents(lambda table: table.withdrawn("ada", 100))
    speaker.lay(speaker.make(n=101))
    assert speaker.follow() == {"ada": 101}

    (speaker.home.path / "consent-off.json").write_bytes(b"{")
    assert speaker.follow() == {}
    (speaker.home.path / "consent-off.json").unlink()

    assert speaker.follow() == {"ada": 101}


def test_file_that_was_damaged_and_is_removed_again_ends_nothing(speaker: Speaker) -> None:
    """The files are then as they were when they were last read."""
    speaker.lay(speaker.make())
    assert speaker.follow() == {"ada": 1}
    off = speaker.home.path / "consent-off.json"

    off.write_bytes(b"{")
    assert speaker.follow() == {}
    off.unlink()

    assert speaker.follow() == {"ada": 1}


def test_consent_that_cannot_be_written_counts_until_hear_ends(speaker: Speaker) -> None:
    follower = ConsentFollower(
        Home(speaker.home.path, 0.01),
        "hall",
        speaker.household.device_key,
        "ada",
        speaker.chores.append,
    )
    speaker.lay(speaker.make())
    follower.follow()
    (save,) = speaker.chores

    with hold_lock(speaker.home.path / "lock"), pytest.raises(Unavailable):
        save()

    assert list(follower.counting) == ["ada"]
    assert speaker.kept() == ()
