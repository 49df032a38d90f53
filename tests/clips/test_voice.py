"""``earmark clips voice`` on the owner's machine, with an archive and a speaker."""

from typing import TYPE_CHECKING, Any

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.owner_state import PendingConsent
from listener.archive.publisher import ArchivePublisher
from listener.cli import clips_voice
from listener.clips.schema import VoiceReply
from listener.clips.voice_record import GivenConsent, VoiceRecord
from listener.clips.voice_view import compare_consents
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.errors import ConfigError, UsageError
from listener.hear.consent_follower import ConsentFollower
from listener.mqtt.client import Message
from listener.rights import requests
from listener.storage.home import Home
from listener.voice.consent import Consent, make_consent, parse_consents
from listener.voice.consent_table import ConsentTable, KeptConsent
from listener.voice.messages import VoiceStatus, sign_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from listener.archive.context import ArchiveContext
    from tests.clips.conftest import CommandResult, Machine
    from tests.conftest import Household

ASSIST, OTHER = (
    keys.device_text(Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32).public_key())
    for at in (1, 2)
)


class Speaker:
    """The speaker hall: follows what the archive publishes, and signs its status."""

    def __init__(self, household: "Household", context: "ArchiveContext", home: Home) -> None:
        self._context = context
        self.key = household.device_key
        self.home = home
        home.change_roster(lambda _: household.home.roster())
        self.follower = ConsentFollower(home, "hall", self.key, "ada", lambda save: save())

    def follow(self) -> dict[str, KeptConsent]:
        """Take what the archive publishes; return the consents that count."""
        for message in ArchivePublisher(self._context).pending_messages():
            if message.topic == "earmark/v1/consents/hall":
                self._store(message)
        self.follower.follow()
        return dict(self.follower.counting)

    def _store(self, message: Message) -> None:
        folder = self.home.path / "spool"
        folder.mkdir(exist_ok=True)
        (folder / "consents.json").write_bytes(message.payload)

    def state(self, **fields: object) -> None:
        """Publish the signed status of what is followed."""
        statuses = [self._sign(owner, one, **fields) for owner, one in self.follower.active.items()]
        self.publish(statuses)

    def _sign(self, owner: str, one: KeptConsent, **fields: object) -> bytes:
        given: dict[str, Any] = {
            "asks": 3,
            "assist": keys.device_id(keys.parse_device(one.assist)),
            "boot": "0" * 16,
            "copies": 2,
            "device": "hall",
            "n": one.n,
            "on": int(owner in self.follower.counting),
            "owner": owner,
        }
        return sign_message(VoiceStatus(**(given | fields)), self.key.sign)

    def publish(self, statuses: "Iterable[bytes]") -> None:
        payload = b'{"state":"online","voice":[%b]}' % b",".join(statuses)
        topic = "earmark/v1/status/hall"
        ArchivePublisher(self._context).on_status(Message(topic, payload, retain=True))


@pytest.fixture
def hall(
    household: "Household",
    context: "ArchiveContext",
    tmp_path_factory: pytest.TempPathFactory,
) -> Speaker:
    return Speaker(household, context, Home(tmp_path_factory.mktemp("hall")))


def on(machine: "Machine", assist: str = ASSIST) -> "CommandResult":
    return machine.clips("voice", "on", "--speaker", "hall", "--assist", assist)


def shown(machine: "Machine") -> dict[str, Any]:
    """The row of the only speaker, whatever the exit code."""
    (row,) = machine.clips("voice", "--json").rows()
    return row


def test_speaker_follows_on_and_off(ada: "Machine", hall: Speaker) -> None:
    (row,) = ada.rows("voice")
    assert (row["state"], row["given"], row["follows"]) == ("none", None, None)

    changed = on(ada)
    assert changed.code == 0, changed.err
    assert "hall: on for the assist" in changed.out
    assert hall.follow().keys() == {"ada"}
    assert hall.follow()["ada"].assist == ASSIST
    hall.state()
    (row,) = ada.rows("voice")
    assert (row["state"], row["recorded_here"], row["forwarded"]) == ("follows", True, True)
    assert (row["follows"]["asks"], row["follows"]["copies"]) == (3, 2)
    told = ada.clips("voice")
    assert told.code == 0
    assert "the speaker follows it; 3 asks and 2 command copies since it started" in told.out

    assert ada.clips("voice", "off").code == 0
    assert hall.follow() == {}
    hall.state()
    (row,) = ada.rows("voice")
    assert (row["state"], row["given"]["on"]) == ("follows", 0)
    assert row["given"]["assist"] == ASSIST


def test_withheld_off_is_visible(ada: "Machine", hall: Speaker) -> None:
    """An operator keeps the off from the speaker: its signed status says so."""
    on(ada)
    hall.follow()
    hall.state()

    off = ada.clips("voice", "off")

    assert "hall: off; the speaker stays behind: on for the assist" in off.out
    assert "at the speaker: earmark owner voice off ada" in off.err
    told = ada.clips("voice")
    assert (told.code, "stays behind" in told.out) == (1, True)
    assert shown(ada)["state"] == "behind"


def test_status_that_the_speaker_did_not_sign_does_not_count(ada: "Machine", hall: Speaker) -> None:
    on(ada)
    hall.follow()
    other = Ed25519PrivateKey.generate()
    forged = VoiceStatus(
        asks=0,
        assist="a" * 24,
        boot="0" * 16,
        copies=0,
        device="hall",
        n=1,
        on=0,
        owner="ada",
    )
    for status, key in ((forged, other), (msgspec.structs.replace(forged, owner="bob"), hall.key)):
        hall.publish([sign_message(status, key.sign)])
        told = ada.clips("voice")
        assert told.code == 1
        assert "the speaker has not stated which consent it follows" in told.out


def test_consent_that_the_owner_did_not_give_is_reported(ada: "Machine", hall: Speaker) -> None:
    """A copy of the speaker's key can make an "on": its number and the warning show it."""
    on(ada)
    hall.follow()
    hall.state()
    (row,) = ada.rows("voice")
    hall.state(n=row["given"]["n"] + 5, assist=keys.device_id(keys.parse_device(OTHER)))

    told = ada.clips("voice")

    assert told.code == 1
    assert "which your key did not state here: if you did not switch it on at the" in told.out
    # The next off is above it all the same.
    assert ada.clips("voice", "off").code == 0
    assert shown(ada)["given"]["n"] > row["given"]["n"] + 5


def test_off_at_the_speaker_is_shown_and_stays_through_a_new_key(
    ada: "Machine", hall: Speaker, household: "Household"
) -> None:
    on(ada)
    hall.follow()
    owner, roster = household.home.roster().known_owner("ada"), household.home.roster()
    number = hall.follow()["ada"].n

    def off(table: ConsentTable) -> ConsentTable:
        return table.stated_at_speaker(owner, roster, on=False, assist=ASSIST, now_s=number + 9)

    hall.home.change_consents(off)
    assert hall.follow() == {}
    hall.state()
    assert "switched off at the speaker since" in ada.clips("voice").out

    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))
    changed = ada.clips("new-key", newer)
    assert "voice control stays on" not in changed.out
    hall.home.change_roster(lambda _: household.home.roster())
    assert hall.follow() == {}


def test_keeper_who_allows_none_holds_back_another_owner(bob: "Machine", hall: Speaker) -> None:
    on(bob)
    assert hall.follow() == {}
    hall.state()

    told = bob.clips("voice")

    assert (told.code, "its keeper allows no assist, or another" in told.out) == (1, True)


def test_new_key_makes_the_consents_again(
    ada: "Machine", hall: Speaker, household: "Household"
) -> None:
    on(ada)
    before = hall.follow()["ada"]
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))

    changed = ada.clips("new-key", newer)

    assert changed.code == 0, changed.err
    assert "voice control stays on at hall: the consent was made again" in changed.out
    assert hall.follow()["ada"] == before, "until the speaker has the new key"
    hall.home.change_roster(lambda _: household.home.roster())
    after = hall.follow()["ada"]
    assert after.okey != before.okey
    assert after.n > before.n
    ada.key.write_text(newer.read_text())
    hall.state()
    assert ada.rows("voice")[0]["state"] == "follows"


def test_new_key_makes_no_on_from_what_a_speaker_states(
    ada: "Machine", hall: Speaker, context: "ArchiveContext"
) -> None:
    assert ada.clips("voice", "off", "--speaker", "hall").code == 0
    hall.follow()
    hall.state(n=1 << 50, on=1, assist=keys.device_id(keys.parse_device(OTHER)))
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))

    assert ada.clips("new-key", newer).code == 0

    (carried,) = context.store.owner_state.consents()
    (made,) = parse_consents(f"[{carried.text}]".encode())
    assert (made.on, made.n) == (0, (1 << 50) + 1)


def test_consents_above_the_limit_of_a_request_are_named(
    ada: "Machine", monkeypatch: pytest.MonkeyPatch
) -> None:
    on(ada)
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))
    monkeypatch.setattr(requests, "MOST_CONSENTS", 0)

    changed = ada.clips("new-key", newer)

    assert changed.code == 0, changed.err
    assert "voice control is off at hall: give the consent again" in changed.out


def test_second_machine_continues_above_the_first(ada: "Machine", hall: Speaker) -> None:
    on(ada)
    first = hall.follow()["ada"].n
    (ada.home / "clips" / "voice.json").unlink()

    row = shown(ada)
    assert (row["recorded_here"], row["given"]["n"]) == (False, first)
    assert "given on another machine with your key" in ada.clips("voice").out
    ada.clips("voice", "off")
    assert hall.follow() == {}


def test_consent_that_the_archive_made_is_not_believed(
    ada: "Machine", context: "ArchiveContext", household: "Household"
) -> None:
    """The archive lists a consent with the highest number: without a code of the owner's own."""
    okey = household.home.roster().known_owner("ada").okey
    forged = Consent(
        assist=OTHER, code="A" * 43 + "=", device="hall", n=1 << 53, okey=okey, on=1, owner="ada"
    )
    state = context.store.owner_state
    dkey = household.home.roster().devices[0].dkey
    text = msgspec.json.encode(forged, order="sorted").decode()
    state.set_consents([PendingConsent("ada", "hall", okey, dkey, forged.n, text)])

    (row,) = ada.rows("voice")

    assert (row["state"], row["given"]) == ("none", None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["on"], "read the key off the hub's own screen"),
        (["on", "--speaker", "hall"], "on needs the speakers and the assist service"),
        (["on", "--assist", ASSIST], "on needs the speakers and the assist service"),
        (["off", "--speaker", "attic"], "choose one of: hall"),
        (["on", "--speaker", "hall", "--assist", "ed25519:AAAA"], "key"),
        (["--speaker", "hall"], "give on or off"),
    ],
)
def test_incomplete_arguments_change_nothing(
    ada: "Machine", context: "ArchiveContext", words: list[str], message: str
) -> None:
    said = ada.clips("voice", *words)

    assert said.code != 0
    assert message in said.err
    assert context.store.owner_state.consents() == []
    assert not (ada.home / "clips" / "voice.json").exists()


def test_consent_needs_the_active_key(ada: "Machine") -> None:
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))
    ada.clips("new-key", newer)

    assert "active key" in on(ada).err


def test_record_is_the_owners_own_and_damage_is_reported(ada: "Machine") -> None:
    on(ada)
    path = ada.home / "clips" / "voice.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert VoiceRecord(ada.home, "ada").consents()["hall"].assist == ASSIST
    assert VoiceRecord(ada.home, "bob").consents() == {}

    path.write_bytes(b'{"v":1,"owners":{"ada":{"hall":{}}}}')
    with pytest.raises(ConfigError, match="is damaged"):
        VoiceRecord(ada.home, "ada")
    assert ada.clips("voice").code == 78


def test_recorded_consent_keeps_the_fields_of_the_consent() -> None:
    identity = parse_identities(str(pyrage.x25519.Identity.generate()).encode(), "a test")[0]
    bare = Consent(assist=ASSIST, device="hall", n=4, okey=identity.okey, on=1, owner="ada")
    made = make_consent(bare, identity.agreement(), Ed25519PrivateKey.generate().public_key())

    assert GivenConsent.of(made) == GivenConsent(assist=ASSIST, n=4, okey=identity.okey, on=1)


def test_consent_that_the_archive_lost_is_named(ada: "Machine", context: "ArchiveContext") -> None:
    on(ada)
    context.store.owner_state.remove_consents(lambda _: True)

    told = ada.clips("voice")

    assert (told.code, "the archive does not forward it" in told.out) == (1, True)
    assert shown(ada)["forwarded"] is False
    # Given again, it has a higher number and is forwarded.
    on(ada)
    assert shown(ada)["forwarded"] is True


def test_new_key_works_with_an_archive_of_before_voice_control(
    ada: "Machine", monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("the archive answered: this is not a valid request")

    monkeypatch.setattr(clips_voice, "_stored", refuse)
    newer = ada.folder / "new.key"
    newer.write_text(str(pyrage.x25519.Identity.generate()))

    changed = ada.clips("new-key", newer)

    assert changed.code == 0, changed.err
    assert ada.clips("voice").code != 0


def test_number_ends_at_the_last_and_stored_codes_for_unknown_speakers_are_ignored(
    household: "Household",
) -> None:
    identity = parse_identities(household.identities["ada"].encode(), "a test")[0]
    key = household.device_key.public_key()
    bare = Consent(assist=ASSIST, device="hall", n=1 << 53, okey=identity.okey, on=1, owner="ada")
    last = make_consent(bare, identity.agreement(), key)
    reply = VoiceReply(owner="ada", consents=(last, msgspec.structs.replace(last, device="den")))

    (one,) = compare_consents(reply, {}, {"hall": key}, "ada", [identity])

    assert one.given == GivenConsent.of(last)
    with pytest.raises(UsageError, match="have used the last number"):
        one.next_number(0.0)
    wrong = msgspec.structs.replace(last, assist="ed25519:" + "/" * 42 + "8=")
    (none,) = compare_consents(
        VoiceReply(owner="ada", consents=(wrong,)), {}, {"hall": key}, "ada", [identity]
    )
    assert (none.given, none.state, none.is_on) == (None, "none", False)


def test_archive_without_speakers_says_so(ada: "Machine", household: "Household") -> None:
    household.home.change_roster(lambda roster: roster.without_device("hall", 1))

    told = ada.clips("voice")

    assert (told.code, told.out) == (0, "the archive knows no speakers\n")
