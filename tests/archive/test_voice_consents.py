"""Consents to voice control at the archive: stored for their owner, forwarded, never made."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.archive.owner_state import OwnerState, PendingConsent
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.service import ArchiveService, ExpirySweep
from listener.archive.voice_consents import VoiceStatuses, consent_messages, is_void
from listener.envelope import keys
from listener.envelope.open import Identity, parse_identities
from listener.errors import UsageError, VoiceError
from listener.mqtt.client import BrokerLimits, ConnectedEvent, Message
from listener.owner.roster import Roster
from listener.rights import requests
from listener.voice.consent import Consent, make_consent, parse_consents, verify_consent
from listener.voice.limits import LONGEST_CONSENTS_BYTES
from listener.voice.messages import VoiceStatus, sign_message
from tests.archive.computer import make_clock

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from listener.archive.store import FileStore
    from tests.archive.conftest import ClipFactory, FakeClock, OwnerClient
    from tests.archive.fake_broker import FakeBroker
    from tests.conftest import Household

ASSIST = keys.device_text(Ed25519PrivateKey.generate().public_key())
ROSTER = Roster().with_device("hall", ASSIST)


@pytest.fixture
def service(
    context: "ArchiveContext",
    broker: "FakeBroker",
    receiver: Receiver,
    store: "FileStore",
    clock: "FakeClock",
) -> ArchiveService:
    return ArchiveService(
        broker,
        receiver,
        ExpirySweep(store, lambda: 0, make_clock(clock, clock)),
        publisher=ArchivePublisher(context),
        monotonic_s=clock,
    )


def identity_of(secret: str) -> Identity:
    return parse_identities(secret.encode(), "a test")[0]


def consent_of(
    household: "Household", owner: str = "ada", *, n: int = 1, on: int = 1, secret: str = ""
) -> Consent:
    identity = identity_of(secret or household.identities[owner])
    bare = Consent(assist=ASSIST, device="hall", n=n, okey=identity.okey, on=on, owner=owner)
    return make_consent(bare, identity.agreement(), household.device_key.public_key())


def as_field(consent: Consent) -> dict[str, Any]:
    fields = msgspec.to_builtins(consent)
    return {name: fields[name] for name in ("assist", "code", "device", "n", "on")}


def published(context: "ArchiveContext") -> tuple[Consent, ...] | None:
    """The consents in the retained message for hall, or None without a message."""
    for message in ArchivePublisher(context).pending_messages():
        if message.topic == "earmark/v1/consents/hall":
            assert (message.qos, message.retain) == (1, True)
            return parse_consents(message.payload)
    return None


def test_consent_is_forwarded_as_its_owner_made_it(
    ada: "OwnerClient", bob: "OwnerClient", context: "ArchiveContext", household: "Household"
) -> None:
    consent = consent_of(household, n=5)
    assert published(context) is None

    reply = ada.request("voice", consents=[as_field(consent)]).json()

    assert reply["consents"] == [msgspec.to_builtins(consent)]
    assert (reply["forwarded"], reply["status"]) == (["hall"], {})
    (carried,) = published(context) or ()
    verify_consent(
        carried, household.home.roster().owner("ada"), "hall", household.device_key, last_n=4
    )
    assert bob.request("voice").json()["consents"] == []
    assert ada.request("voice").json() == reply


def test_only_the_newest_consent_is_kept_and_an_older_one_is_refused(
    ada: "OwnerClient", context: "ArchiveContext", household: "Household"
) -> None:
    for n, on in ((5, 1), (7, 0)):
        one = consent_of(household, n=n, on=on)
        assert ada.request("voice", consents=[as_field(one)]).status_code == 200
    for n in (6, 7):
        old = ada.request("voice", consents=[as_field(consent_of(household, n=n))])
        assert (old.status_code, old.json()["error"]) == (409, "key")
        assert "not newer" in old.json()["message"]

    assert [(one.n, one.on) for one in published(context) or ()] == [(7, 0)]


def test_access_log_says_on_off_or_only_shown(ada: "OwnerClient", household: "Household") -> None:
    ada.request("voice")
    for n, on in ((1, 1), (2, 0)):
        ada.request("voice", consents=[as_field(consent_of(household, n=n, on=on))])

    rows = [(row["op"], row["outcome"], row["count"]) for row in ada.log_rows()]

    assert rows[:3] == [("voice", "done", 0), ("voice-on", "done", 1), ("voice-off", "done", 1)]


def test_unproven_request_stores_no_consent(
    ada: "OwnerClient", bob: "OwnerClient", context: "ArchiveContext", household: "Household"
) -> None:
    """Neither the household nor another owner can answer ada's challenge."""
    fields = {"consents": [as_field(consent_of(household))]}
    ticket = ada.request_ticket("voice", **fields).json()
    with pytest.raises(pyrage.DecryptError):
        bob.decrypt(ticket["challenge"])
    guess = f"ada:voice:{ticket['request_sha256'][:16]}:{'a' * 26}"
    assert ada.answer(ticket["ticket"], guess).status_code == 403

    # In bob's name it is his consent, whose code the speaker refuses.
    assert bob.request("voice", **fields).status_code == 200
    (carried,) = published(context) or ()
    assert (carried.owner, carried.okey) == ("bob", identity_of(household.identities["bob"]).okey)
    with pytest.raises(VoiceError, match="not proven"):
        verify_consent(carried, household.home.roster().owner("bob"), "hall", household.device_key)


@pytest.mark.parametrize(
    "change",
    [
        {"owner": "bob"},
        {"okey": "a" * 24},
        {"v": 1},
        {"to": "bob"},
        {"n": 0},
        {"n": (1 << 53) + 1},
        {"n": True},
        {"on": 2},
        {"on": True},
        {"assist": "age1" + "q" * 58},
        {"code": ""},
        {"device": "../hall"},
    ],
)
def test_malformed_consent_is_refused(
    ada: "OwnerClient", household: "Household", change: dict[str, object]
) -> None:
    one = as_field(consent_of(household)) | change

    assert ada.request_ticket("voice", consents=[one]).status_code == 422


def test_consents_of_one_request_are_bounded_and_agree(
    ada: "OwnerClient", household: "Household"
) -> None:
    one = as_field(consent_of(household))
    others = [one | {"device": f"speaker-{number}"} for number in range(40)]

    for wrong in (others[:33], [one, one], [one, others[0] | {"on": 0}]):
        assert ada.request_ticket("voice", consents=wrong).status_code == 422
    # Speakers that the household does not have are left out, as by new-key.
    reply = ada.request("voice", consents=[one, *others[:31]]).json()
    assert [consent["device"] for consent in reply["consents"]] == ["hall"]


def test_longest_requests_fit_their_limit() -> None:
    code, name = "A" * 43 + "=", "d" * 30
    consents = [
        {"assist": ASSIST, "code": code, "device": f"{name}{number:02}", "n": 1 << 53, "on": 0}
        for number in range(requests.MOST_CONSENTS)
    ]
    proofs = [
        {"device": f"{name}{number:02}", "new": code, "old": code}
        for number in range(requests.MOST_PROOFS)
    ]
    body = {
        "owner": "o" * 32,
        "request": {
            "op": "new-key",
            "recipient": "age1" + "q" * 58,
            "proofs": proofs,
            "consents": consents,
        },
    }

    parsed = requests.parse(msgspec.json.encode(body)).request

    assert isinstance(parsed, requests.NewKeyRequest)
    assert len(parsed.consents) == 32


def test_new_key_stores_fresh_consents_and_ends_the_earlier_ones(
    ada: "OwnerClient", context: "ArchiveContext", household: "Household"
) -> None:
    ada.request("voice", consents=[as_field(consent_of(household, n=1))])
    fresh = str(pyrage.x25519.Identity.generate())
    recipient = identity_of(fresh).recipient
    again = consent_of(household, n=2, secret=fresh)
    reply = ada.request_ticket("new-key", recipient=recipient, consents=[as_field(again)]).json()
    both = ada.decrypt(reply["challenge"]) + ada.decrypt(reply["new_challenge"], fresh)

    assert ada.answer(reply["ticket"], both).status_code == 200

    assert published(context) == (again,)
    verify_consent(again, household.home.roster().owner("ada"), "hall", household.device_key)


def test_new_key_without_consents_ends_the_earlier_ones(
    ada: "OwnerClient", context: "ArchiveContext", household: "Household"
) -> None:
    ada.request("voice", consents=[as_field(consent_of(household))])
    fresh = str(pyrage.x25519.Identity.generate())
    reply = ada.request_ticket("new-key", recipient=identity_of(fresh).recipient).json()
    both = ada.decrypt(reply["challenge"]) + ada.decrypt(reply["new_challenge"], fresh)
    ada.answer(reply["ticket"], both)

    assert published(context) == ()
    assert context.store.owner_state.consents() == []


def test_removed_owner_and_revoked_speaker_have_no_consents(
    ada: "OwnerClient", bob: "OwnerClient", context: "ArchiveContext", household: "Household"
) -> None:
    for client, owner in ((ada, "ada"), (bob, "bob")):
        client.request("voice", consents=[as_field(consent_of(household, owner))])
    assert [one.owner for one in published(context) or ()] == ["ada", "bob"]

    household.home.change_roster(lambda roster: roster.without_owner("ada"))
    assert [one.owner for one in published(context) or ()] == ["bob"]
    assert [one.owner for one in context.store.owner_state.consents()] == ["bob"]

    household.home.change_roster(lambda roster: roster.without_device("hall", 1))
    # The broker retains the message before, so another one takes its place.
    assert published(context) == ()
    other = keys.device_text(Ed25519PrivateKey.generate().public_key())
    household.home.change_roster(lambda roster: roster.with_device("hall", other))
    assert published(context) == ()


def test_consents_are_published_on_connection_and_at_each_change(
    ada: "OwnerClient",
    broker: "FakeBroker",
    household: "Household",
    service: ArchiveService,
) -> None:

    def consents() -> list[bytes]:
        service.turn(0.1)
        messages = [entry for entry in broker.calls if isinstance(entry, Message)]
        broker.calls.clear()
        return [one.payload for one in messages if one.topic == "earmark/v1/consents/hall"]

    broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
    assert consents() == []
    ada.request("voice", consents=[as_field(consent_of(household))])
    (first,) = consents()
    assert consents() == []
    household.home.change_roster(lambda roster: roster.without_owner("ada"))
    assert consents() == [b"[]"]
    broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
    assert consents() == [b"[]"]
    assert [one.owner for one in parse_consents(first)] == ["ada"]


def test_consents_survive_a_restart_and_an_earlier_database_gets_the_table(home: Path) -> None:
    path = home / "orders.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as earlier:
        earlier.execute("create table retention (owner text primary key, days integer not null)")
        earlier.execute("insert into retention values ('ada', 7)")
        earlier.commit()
    one = PendingConsent("ada", "hall", "o" * 24, "d" * 24, 3, '{"n":3}')

    with contextlib.closing(OwnerState(path)) as state:
        assert state.retention_days() == {"ada": 7}
        assert state.consents() == []
        state.set_consents([one])
    with contextlib.closing(OwnerState(path)) as state:
        assert state.consents() == [one]
        assert state.consent_devices() == ["hall"]
        older = PendingConsent("ada", "hall", "p" * 24, "d" * 24, 2, '{"n":2}')
        with pytest.raises(UsageError, match="not newer"):
            state.set_consents([PendingConsent("ada", "den", "o" * 24, "d" * 24, 1, "{}"), older])
        assert state.consents() == [one], "all or none"
        assert state.remove_consents(lambda consent: consent.owner == "ada") == 1
        assert (state.consents(), state.consent_devices()) == ([], ["hall"])


def test_message_is_bounded_and_owners_with_clips_come_first(
    context: "ArchiveContext", clip_factory: "ClipFactory", household: "Household"
) -> None:
    """Forty owners of a household cannot keep ada's off from the speaker that seals for her."""
    clip_factory.put("ada")
    state, roster = context.store.owner_state, household.home.roster()
    dkey = roster.devices[0].dkey
    for number in range(40):
        name = f"owner-{number:02}"
        secret = str(pyrage.x25519.Identity.generate())
        recipient = identity_of(secret).recipient
        roster = roster.with_owner(name, recipient).with_challenge(name, "x", 0)
        roster = roster.with_confirmation(name, "x", 0)
        text = "x" * 330
        state.set_consents([PendingConsent(name, "hall", identity_of(secret).okey, dkey, 1, text)])
    okey = identity_of(household.identities["ada"]).okey
    state.set_consents([PendingConsent("ada", "hall", okey, dkey, 1, "a" * 330)])

    texts = consent_messages(state, roster, context.store.has_sealed)["hall"]

    assert len(f"[{','.join(texts)}]") <= LONGEST_CONSENTS_BYTES
    assert 20 <= len(texts) < 41
    assert "a" * 330 in texts


def test_consent_is_void_for_another_key_of_owner_or_speaker(household: "Household") -> None:
    roster = household.home.roster()
    okey, dkey = roster.known_owner("ada").okey, roster.devices[0].dkey
    one = PendingConsent("ada", "hall", okey, dkey, 1, "{}")

    assert not is_void(one, roster)
    for wrong in (
        PendingConsent("eve", "hall", okey, dkey, 1, "{}"),
        PendingConsent("ada", "hall", "o" * 24, dkey, 1, "{}"),
        PendingConsent("ada", "den", okey, dkey, 1, "{}"),
        PendingConsent("ada", "hall", okey, "d" * 24, 1, "{}"),
    ):
        assert is_void(wrong, roster)
    unconfirmed = roster.without_owner("ada").with_owner("ada", household.recipient("ada"))
    assert is_void(one, unconfirmed)


def status_payload(household: "Household", owner: str = "ada", **fields: object) -> bytes:
    given: dict[str, Any] = {
        "asks": 2,
        "assist": keys.device_id(keys.parse_device(ASSIST)),
        "boot": "0" * 16,
        "copies": 1,
        "device": "hall",
        "n": 5,
        "on": 1,
        "owner": owner,
    }
    return sign_message(VoiceStatus(**(given | fields)), household.device_key.sign)


def test_owner_gets_the_status_that_their_speaker_signed(
    ada: "OwnerClient",
    bob: "OwnerClient",
    broker: "FakeBroker",
    household: "Household",
    receiver: Receiver,
    service: ArchiveService,
) -> None:
    signed = status_payload(household)
    payload = b'{"state":"online","voice":[%b],"waiting":3}' % signed
    broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
    broker.events.append(Message("earmark/v1/status/hall", payload, retain=True))
    service.turn(0.1)

    assert ada.request("voice").json()["status"] == {"hall": json.loads(signed)}
    assert bob.request("voice").json()["status"] == {}
    assert receiver.refused == {}

    offline = Message("earmark/v1/status/hall", b'{"state":"offline"}')
    broker.events += [offline, Message("earmark/v1/status/elsewhere", payload)]
    service.turn(0.1)
    assert ada.request("voice").json()["status"].keys() == {"hall"}, "the last one stays"
    household.home.change_roster(lambda roster: roster.without_device("hall", 1))
    broker.events.append(offline)
    service.turn(0.1)
    assert ada.request("voice").json()["status"] == {}


@given(payload=st.binary(max_size=300))
def test_arbitrary_status_is_ignored(payload: bytes) -> None:
    statuses = VoiceStatuses()

    statuses.take("hall", payload, ROSTER)
    statuses.take("hall", b'{"voice":[%b]}' % payload, ROSTER)
    statuses.take("hall", b'{"voice":[' + b"{}," * 30_000 + b"{}]}", ROSTER)

    assert statuses.of_owner("ada") == {}
