"""The Portland case: no input makes a device send a clip to anyone but its owner.

In 2018 a speaker interpreted a conversation as four commands in a row and sent it to a contact.
Here no audio, message, topic, header or setting names a recipient. The tests try each of them.
"""

import hashlib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.audio.clip import Clip, EndReason
from listener.config import SpoolSettings, parse_settings
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.envelope.seal import seal
from listener.errors import BadEnvelope, ConfigError
from listener.hear.key_rotation import RosterUpdater
from listener.ipc import notices
from listener.mqtt.client import BrokerLimits, ConnectedEvent, DeliveredEvent, Message
from listener.owner import key_rotation
from listener.owner.attribution import Attribution, AttributionResult, Keeper
from listener.owner.roster import Roster
from listener.rights.requests import Request
from listener.send.delivery import ClipDelivery
from listener.send.inbound import InboundMessages
from listener.send.loop import Sender
from listener.spool.queue import Spool
from listener.storage.home import Home
from tests.send.conftest import FakeBroker, FakeClock

if TYPE_CHECKING:
    from tests.conftest import Household

TOPICS = st.sampled_from(
    [
        "earmark/v1/ack/hall/{clip}",
        "earmark/v1/ack/hall/+",
        "earmark/v1/clips/bob/hall/{clip}",
        "earmark/v1/status/hall",
        "homeassistant/device/hall/set",
        "earmark/v1/send/hall",
        "earmark/v1/keys/hall",
        "earmark/v1/consents/hall",
        "earmark/v1/retention/ada",
        "earmark/v1/retention/bob",
        "earmark/v1/sequence/hall",
        "earmark/v1/consents/hall",
    ]
)
WORDS = st.sampled_from(
    [b"send to bob", b'{"recipient":"bob"}', b"refused:owner:", b"erased", b"age1bob", b"\xff"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=st.lists(st.tuples(TOPICS, WORDS | st.binary(max_size=99), st.booleans()), max_size=12)
)
def test_no_mqtt_message_redirects_a_clip(
    tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[str, bytes, bool]]
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    home.pin_archive(Ed25519PrivateKey.generate().public_key())
    spool = Spool(home.path / "spool", SpoolSettings())
    clip = str(uuid.uuid4())
    spool.put(clip, "ada", 1, b"sealed to ada")
    clock = FakeClock()
    broker = FakeBroker(clock)
    sender = Sender(
        ClipDelivery(spool, "hall", 0.5),
        broker,
        inbound=InboundMessages(home.path, "hall"),
        monotonic_s=clock,
    )
    broker.happens += [ConnectedEvent(BrokerLimits(), "5")]
    sender.turn(0.1)
    broker.happens += [DeliveredEvent(1)]
    sender.turn(0.1)

    for topic, payload, hashed in messages:
        tail = hashlib.sha256(b"other").hexdigest().encode() if hashed else b""
        broker.happens.append(Message(topic.replace("{clip}", clip), payload + tail))
        sender.turn(0.4)

    envelopes = [message for message in broker.published if b"sealed" in message.payload]
    assert envelopes
    assert {message.topic for message in envelopes} == {f"earmark/v1/clips/ada/hall/{clip}"}
    assert {message.payload for message in envelopes} == {b"sealed to ada"}
    assert broker.subscribed == [
        *("earmark/v1/ack/hall/+", "earmark/v1/keys/hall", "earmark/v1/consents/hall"),
        *("earmark/v1/owner-answers/hall", "earmark/v1/retention/+", "earmark/v1/sequence/hall"),
    ]
    assert [entry.clip for entry in spool.waiting()] == [clip]


def test_no_header_seals_a_clip_to_another_owner(household: "Household") -> None:
    header = household.header(1, "ada")
    private = form.PrivateFields(
        word="alexa",
        model="0" * 64,
        score=0.9,
        spk=None,
        pre_ms=0,
        ms=1,
        rate=16_000,
        end_reason="silence",
        boot="0" * 16,
    )
    bobs = household.recipient("bob")
    relabelled = msgspec.structs.replace(header, owner="bob")

    with pytest.raises(BadEnvelope, match="another key than"):
        seal(header, private, lambda _: b"fLaC", bobs, household.device_key)
    # The owner's name alone changes nothing: the key decides who can decrypt, and both are signed.
    data = seal(
        relabelled, private, lambda _: b"fLaC", household.recipient("ada"), household.device_key
    )
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(
            form.parse_envelope(data).ciphertext,
            [pyrage.x25519.Identity.from_str(household.identities["bob"])],
        )


def _clip(samples: bytes) -> Clip:
    pcm = np.frombuffer(samples[: len(samples) // 2 * 2], np.int16)
    return Clip(
        samples=pcm,
        first_sample=0,
        wake_sample=0,
        end_sample=len(pcm),
        pre_roll_samples=0,
        end_reason=EndReason.SILENCE,
    )


@given(samples=st.binary(min_size=2, max_size=400))
def test_no_audio_changes_the_owner_of_a_clip(samples: bytes) -> None:
    clip = _clip(samples)
    roster = Roster()
    for name in ("ada", "bob"):
        key = str(pyrage.x25519.Identity.generate().to_public())
        roster = (
            roster.with_owner(name, key)
            .with_challenge(name, "x", 0)
            .with_confirmation(name, "x", 0)
        )
    keeper: Attribution = Keeper("ada", lambda: roster)

    attributed = keeper.attribute(clip)

    assert isinstance(attributed, AttributionResult)
    assert attributed.owner.name == "ada"


class Forgers:
    """Parties that could forge a key rotation of ada's, with the keys that each of them holds."""

    def __init__(self, household: "Household") -> None:
        self.household = household
        self.archive = household.home.archive_key()
        self.ada, self.bob = (_identity(household.identities[name]) for name in ("ada", "bob"))
        self.attacker, self.next = (_identity(str(pyrage.x25519.Identity.generate())) for _ in "12")

    def rotation(
        self, old: X25519PrivateKey, new: Identity, **fields: str
    ) -> key_rotation.KeyRotation:
        """Return a rotation from ada's key to ``new``, with the proof that holders can make."""
        unproven = key_rotation.KeyRotation(
            owner="ada", device="hall", old=self.ada.okey, new=new.recipient
        )
        speaker = self.household.device_key.public_key()
        proven = key_rotation.prove_rotation(unproven, old, new.agreement(), speaker)
        return msgspec.structs.replace(proven, **fields)

    def forgeries(self) -> list[key_rotation.KeyRotation]:
        """Return forgeries by the archive, the broker, bob, an attacker and a second speaker."""
        genuine = self.rotation(self.ada.agreement(), self.next)
        return [
            self.rotation(keys.agreement_secret(self.archive), self.attacker),
            self.rotation(self.bob.agreement(), self.bob),
            self.rotation(self.bob.agreement(), self.attacker),
            self.rotation(self.attacker.agreement(), self.attacker),
            # Ada's own rotation, read in transit, and changed to another key.
            msgspec.structs.replace(genuine, new=self.attacker.recipient),
            msgspec.structs.replace(genuine, new=self.bob.recipient),
            self.rotation(self.attacker.agreement(), self.attacker, old_proof=genuine.old_proof),
            self.rotation(self.attacker.agreement(), self.attacker, owner="bob"),
            # Ada's own rotation, but made for a speaker whose key the archive holds.
            key_rotation.prove_rotation(
                key_rotation.KeyRotation(
                    owner="ada", device="hall", old=self.ada.okey, new=self.next.recipient
                ),
                self.ada.agreement(),
                self.next.agreement(),
                self.archive.public_key(),
            ),
        ]


def _identity(secret: str) -> Identity:
    return parse_identities(secret.encode(), "a test")[0]


def test_only_the_owner_rotates_a_speakers_key(household: "Household") -> None:
    forgers = Forgers(household)
    inbound = InboundMessages(household.home.path, "hall")
    updater = RosterUpdater(household.home, "hall", household.device_key)
    before = household.home.roster()
    forged = [rotation.encode() for rotation in forgers.forgeries()]

    for payload in [b"[%b]" % payload for payload in forged] + [b"[%b]" % b",".join(forged)]:
        inbound.take(Message("earmark/v1/keys/hall", payload, retain=True))
        assert (household.home.path / "spool" / "following.json").read_bytes() == payload
        assert updater() == before

    genuine = forgers.rotation(forgers.ada.agreement(), forgers.next).encode()
    inbound.take(Message("earmark/v1/keys/hall", b"[%b]" % genuine, retain=True))
    attributed = Keeper("ada", updater).attribute(_clip(b"\0" * 64))
    assert attributed is not None
    assert attributed.owner.recipient == forgers.next.recipient


@pytest.mark.parametrize(
    "line",
    [
        "attribution.recipient = 'age1'",
        "attribution.keeper = ['ada', 'bob']",
        "attribution.keeper = 'age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq'",
        "clip.send_to = 'bob'",
        "broker.topic = 'clips/bob'",
        "share = true",
    ],
)
def test_no_setting_names_a_recipient(line: str) -> None:
    with pytest.raises(ConfigError):
        parse_settings(line, "settings")


def test_no_request_or_notice_has_a_recipient_field() -> None:
    kinds = [*Request.__args__, notices.WakeNotice, notices.NearMissNotice, notices.MuteNotice]

    fields = {name for kind in kinds for name in kind.__struct_fields__}

    assert not fields & {"to", "recipients", "share", "contact", "address", "url"}
    # The exception is the owner's own next key, which both of their keys prove.
    assert [kind.__name__ for kind in kinds if "recipient" in kind.__struct_fields__] == [
        "NewKeyRequest"
    ]


def test_spool_refuses_invalid_owner_names(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", SpoolSettings())

    for owner in ("bob/ada", "../bob", "ada,bob", "+", "#", "ada\0"):
        with pytest.raises(ValueError, match="not a valid name"):
            spool.put(str(uuid.uuid4()), owner, 1, b"sealed")
