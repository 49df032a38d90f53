"""The Portland case of voice control: only an owner lets a speaker send their commands.

No message, configuration, card, join line or household command makes a speaker follow an assist
that the owner did not name, with a proof by their active key, to this speaker. The tests try each.
"""

import ast
import base64
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.config import parse_settings
from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.errors import ConfigError, VoiceError
from listener.firstboot import plan
from listener.hear.consent_follower import ConsentFollower
from listener.hear.key_rotation import RosterUpdater
from listener.household.invitation import Invitation, JoinAnswer
from listener.mqtt.client import Message
from listener.owner.key_rotation import KeyRotation, prove_rotation
from listener.send.inbound import InboundMessages
from listener.storage.home import CONSENT_TABLE, Home
from listener.voice.consent import Consent, encode_consents, make_consent
from listener.voice.consent_table import ConsentTable, KeptConsent, render_table
from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.conftest import Household

ASSIST, EVIL = (
    keys.device_text(Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32).public_key())
    for at in (1, 2)
)


def identity_of(secret: str) -> Identity:
    return parse_identities(secret.encode(), "a test")[0]


class SpeakerSide:
    """A speaker that ada keeps: send stores what arrives, hear follows it."""

    def __init__(self, household: "Household", keeper: str = "ada") -> None:
        self.household = household
        self.home = household.home
        self.inbound = InboundMessages(self.home.path, "hall")
        self.follower = ConsentFollower(
            self.home, "hall", household.device_key, keeper, lambda save: save()
        )

    def receive(self, payload: bytes, topic: str = "earmark/v1/consents/hall") -> None:
        self.inbound.take(Message(topic, payload, retain=True))
        self.follower.follow()

    def followed(self) -> dict[str, str]:
        """The assist that is asked for each owner."""
        self.follower.follow()
        return {name: one.assist for name, one in self.follower.counting.items()}


class ConsentForgers:
    """Parties that could forge a consent of ada's, with the keys that each of them holds."""

    def __init__(self, household: "Household") -> None:
        self.household = household
        self.archive = household.home.archive_key()
        self.ada, self.bob = (identity_of(household.identities[name]) for name in ("ada", "bob"))
        self.attacker = identity_of(str(pyrage.x25519.Identity.generate()))

    def consent(
        self,
        secret: X25519PrivateKey | None = None,
        speaker: Ed25519PrivateKey | None = None,
        **fields: object,
    ) -> Consent:
        """Return a consent of ada's to the evil assist, with the code that ``secret`` makes."""
        bare = Consent(assist=EVIL, device="hall", n=9, okey=self.ada.okey, on=1, owner="ada")
        return make_consent(
            msgspec.structs.replace(bare, **fields),
            secret or self.ada.agreement(),
            (speaker or self.household.device_key).public_key(),
        )

    def forgeries(self) -> list[Consent]:
        """Return forgeries by the archive, the broker, bob, an attacker and other speakers."""
        genuine = self.consent(assist=ASSIST)
        kitchen = Ed25519PrivateKey.generate()
        return [
            self.consent(keys.agreement_secret(self.archive)),
            self.consent(self.bob.agreement()),
            self.consent(self.attacker.agreement()),
            self.consent(self.attacker.agreement(), okey=self.attacker.okey),
            self.consent(keys.agreement_secret(kitchen)),
            # Ada's own consent, read in transit, and changed.
            msgspec.structs.replace(genuine, assist=EVIL),
            msgspec.structs.replace(genuine, n=10),
            msgspec.structs.replace(genuine, owner="bob"),
            msgspec.structs.replace(genuine, owner="bob", okey=self.bob.okey),
            # Ada's own consent for another speaker: by its name, or by its key.
            self.consent(device="kitchen"),
            msgspec.structs.replace(self.consent(device="kitchen"), device="hall"),
            self.consent(speaker=kitchen),
            self.consent(speaker=self.archive),
            # Ada said off.
            msgspec.structs.replace(self.consent(on=0), on=1),
        ]


def test_only_the_owner_allows_an_assist(household: "Household") -> None:
    speaker, forgers = SpeakerSide(household), ConsentForgers(household)
    genuine = forgers.consent(assist=ASSIST, n=8)

    for forged in forgers.forgeries():
        speaker.receive(encode_consents([forged]))
        assert speaker.followed() == {}
    speaker.receive(encode_consents([genuine]))
    assert speaker.followed() == {"ada": ASSIST}
    for forged in forgers.forgeries():
        speaker.receive(encode_consents([forged]))
        assert speaker.followed() == {"ada": ASSIST}


def test_every_changed_field_of_a_consent_voids_it(household: "Household") -> None:
    speaker = SpeakerSide(household)
    genuine = ConsentForgers(household).consent(assist=ASSIST)
    code = base64.b64decode(genuine.code)
    changes: list[dict[str, object]] = [
        {"code": base64.b64encode(bytes([*code[:at], code[at] ^ bit, *code[at + 1 :]])).decode()}
        for at in range(len(code))
        for bit in (1, 0x80)
    ]
    changes += [{"n": genuine.n ^ 1 << bit} for bit in range(50)]
    changes += [{"assist": EVIL}, {"device": "den"}, {"okey": "a" * 24}, {"owner": "eve"}]

    for change in changes:
        speaker.receive(encode_consents([msgspec.structs.replace(genuine, **change)]))
        assert speaker.followed() == {}, change
    speaker.receive(encode_consents([genuine]))
    assert speaker.followed() == {"ada": ASSIST}


def test_consent_of_before_does_not_return(household: "Household") -> None:
    speaker, forgers = SpeakerSide(household), ConsentForgers(household)
    on, off = forgers.consent(assist=ASSIST, n=5), forgers.consent(assist=ASSIST, n=6, on=0)

    speaker.receive(encode_consents([on]))
    speaker.receive(encode_consents([off]))
    for replayed in (
        [on],
        [
            on,
        ],
        [],
    ):
        speaker.receive(encode_consents(replayed))
        assert speaker.followed() == {}
    # Nor after a restart of hear.
    assert SpeakerSide(household).followed() == {}


def test_other_owner_chooses_no_assist_for_the_keepers_speaker(household: "Household") -> None:
    speaker, forgers = SpeakerSide(household), ConsentForgers(household)
    bobs = forgers.consent(forgers.bob.agreement(), owner="bob", okey=forgers.bob.okey)

    speaker.receive(encode_consents([bobs]))
    assert speaker.followed() == {}
    speaker.receive(encode_consents([forgers.consent(assist=ASSIST, n=1), bobs]))
    assert speaker.followed() == {"ada": ASSIST}


def test_new_key_of_the_owner_voids_the_consent(household: "Household") -> None:
    speaker, forgers = SpeakerSide(household), ConsentForgers(household)
    following = forgers.attacker
    speaker.receive(encode_consents([forgers.consent(assist=ASSIST)]))
    rotation = prove_rotation(
        KeyRotation(owner="ada", device="hall", old=forgers.ada.okey, new=following.recipient),
        forgers.ada.agreement(),
        following.agreement(),
        household.device_key.public_key(),
    )

    speaker.receive(b"[%b]" % rotation.encode(), "earmark/v1/keys/hall")
    RosterUpdater(household.home, "hall", household.device_key)()

    assert speaker.followed() == {}
    speaker.receive(encode_consents([forgers.consent(assist=ASSIST, n=99)]))
    assert speaker.followed() == {}, "also not one of the old key"
    fresh = forgers.consent(following.agreement(), assist=ASSIST, okey=following.okey, n=1)
    speaker.receive(encode_consents([fresh]))
    assert speaker.followed() == {"ada": ASSIST}


def test_inactive_and_removed_owner_has_no_consent(household: "Household") -> None:
    speaker, forgers = SpeakerSide(household), ConsentForgers(household)
    speaker.receive(encode_consents([forgers.consent(assist=ASSIST)]))
    assert speaker.followed() == {"ada": ASSIST}

    household.home.change_roster(lambda roster: roster.without_owner("ada"))
    assert speaker.followed() == {}
    household.home.change_roster(
        lambda roster: roster.with_owner("ada", household.recipient("ada"))
    )
    assert speaker.followed() == {}, "not confirmed yet"


TOPICS = st.sampled_from(
    [
        *("consents/hall", "consents/kitchen", "keys/hall", "retention/ada", "sequence/hall"),
        *("answer/hall", "say/hall", "ask/hall", "command/hall", "status/hall", "voice/hall"),
    ]
)
WORDS = st.sampled_from(
    [
        b"on",
        b"[]",
        f'[{{"assist":"{EVIL}","on":1,"owner":"ada"}}]'.encode(),
        f'{{"assist":"{EVIL}"}}'.encode(),
        f'{{"attribution":{{"keeper":"bob"}},"assist":"{EVIL}"}}'.encode(),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(messages=st.lists(st.tuples(TOPICS, WORDS | st.binary(max_size=99)), max_size=8))
def test_no_mqtt_message_allows_an_assist(
    household: "Household", messages: list[tuple[str, bytes]]
) -> None:
    speaker = SpeakerSide(household)

    for topic, payload in messages:
        speaker.receive(payload, f"earmark/v1/{topic}")

    assert speaker.followed() == {}
    assert not (household.home.path / CONSENT_TABLE).exists()


@pytest.mark.parametrize(
    "line",
    [
        f"attribution.assist = '{EVIL}'",
        "attribution.voice = true",
        f"voice.assist = '{EVIL}'",
        "voice.on = true",
        "consent = 'ada'",
        f"device.assist = '{EVIL}'",
        f"microphone.assist = '{EVIL}'",
        f"broker.assist = '{EVIL}'",
    ],
)
def test_no_configuration_or_card_allows_an_assist(line: str) -> None:
    with pytest.raises(ConfigError, match="unknown"):
        parse_settings(line, "a file")
    assert _card("").owner.name == "ada"
    for added in (line, f"settings.{line}", f"owner.{line}", f"household.{line}"):
        with pytest.raises(ConfigError, match="unknown"):
            _card(added)


def _card(line: str) -> plan.FirstBootPlan:
    recipient = pyrage.x25519.Identity.generate().to_public()
    text = f'{line}\nowner.name = "ada"\nowner.key = "{recipient}"\ndevice.name = "hall"\n'
    return plan.parse(plan.parse_tables(text, "a card"), "a card")


def test_join_line_and_its_answer_have_no_field_for_an_assist() -> None:
    fields = {*Invitation.__struct_fields__, *JoinAnswer.__struct_fields__}

    assert not fields & {"assist", "consent", "consents", "voice", "keeper", "owner", "owners"}
    for kind in (Invitation, JoinAnswer):
        assert kind.__struct_config__.forbid_unknown_fields


def test_only_hear_and_the_owner_command_change_the_consents() -> None:
    """Nothing else, such as a household command or first boot, can write the file."""
    users = set()
    for file in sorted((ROOT / "listener").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            named = getattr(node, "attr", getattr(node, "id", getattr(node, "value", None)))
            if named in {"change_consents", "CONSENT_TABLE", CONSENT_TABLE}:
                users.add(str(file.relative_to(ROOT / "listener")))

    # The self-test gives a consent in a home of its own, which it removes afterwards.
    assert users - {"selftest/assist.py"} == {
        *("cli/owner.py", "hear/consent_follower.py", "storage/home.py"),
    }


def test_forged_file_beside_the_consents_is_not_followed(household: "Household") -> None:
    """A user who may write into the spool, as send may, cannot write hear's own file."""
    speaker = SpeakerSide(household)
    okey = household.home.roster().known_owner("ada").okey
    one = KeptConsent(assist=EVIL, n=1, okey=okey, on=1, owner="ada")
    table = render_table(ConsentTable((one,)))
    for path in ("spool/consent.json", "spool/consents.json", "send/consent.json"):
        target = household.home.path / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(table)

    assert speaker.followed() == {}
    (household.home.path / CONSENT_TABLE).write_bytes(table)
    assert speaker.followed() == {"ada": EVIL}, "the file itself would be followed"


def test_consent_names_a_key_that_an_owner_can_read(household: "Household") -> None:
    forgers = ConsentForgers(household)
    with pytest.raises((ConfigError, VoiceError)):
        forgers.consent(assist="ed25519:" + "A" * 43)


def test_assist_that_is_in_the_roster_as_nothing_gets_nothing(household: "Household") -> None:
    """A speaker's list of devices and owners gives no assist; only a consent does."""
    household.home.change_roster(lambda roster: roster.with_device("assist", ASSIST))

    assert SpeakerSide(household).followed() == {}


def test_home_without_consents_has_none(tmp_path: Path) -> None:
    assert Home(tmp_path / "new").consents().kept == ()
