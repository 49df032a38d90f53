"""The archive's own messages, and its check of the published head."""

import json
from typing import TYPE_CHECKING

import pytest

from listener.archive.context import ArchiveContext
from listener.archive.erased_clips import ErasedClip
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.service import ArchiveService, ExpirySweep
from listener.archive.store import FileStore
from listener.mqtt import retention as retention_messages
from listener.mqtt.client import BrokerLimits, ConnectedEvent, ConnectionLostEvent, Message
from listener.rights import receipts
from listener.storage.access_log import LogEntry
from tests.archive.computer import make_clock
from tests.archive.fake_broker import FakeBroker

if TYPE_CHECKING:
    from tests.archive.conftest import FakeClock
    from tests.conftest import Household


def test_new_head_and_erasures_are_published(
    context: ArchiveContext,
    broker: FakeBroker,
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
) -> None:
    server = ArchiveService(
        broker,
        receiver,
        ExpirySweep(store, lambda: 0, make_clock(clock, clock)),
        publisher=ArchivePublisher(context),
        monotonic_s=clock,
    )
    broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
    for _ in range(2):
        server.turn(0.1)
    context.log.append(LogEntry(owner="ada", op="list", outcome="done"))
    context.erased_clips.append(
        ErasedClip("ada", "hall", "00000000-0000-4000-8000-000000000000", "1" * 64)
    )
    server.turn(0.1)

    messages = [entry for entry in broker.calls if isinstance(entry, Message)]
    heads = [entry for entry in messages if entry.topic == "earmark/v1/status/archive"]
    assert all(entry.retain for entry in heads)
    key = context.key.public_key()
    assert [receipts.parse_head(entry.payload, key).n for entry in heads] == [0, 1]
    (erasure,) = [entry for entry in messages if entry not in heads]
    assert erasure.topic == "earmark/v1/ack/hall/00000000-0000-4000-8000-000000000000"
    assert erasure.payload == b"refused:erased:" + b"1" * 64


def test_settings_are_published_on_connection_and_change(
    context: ArchiveContext,
    broker: FakeBroker,
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
) -> None:
    retention = ExpirySweep(store, lambda: 0, make_clock(clock, clock))
    server = ArchiveService(
        broker, receiver, retention, publisher=ArchivePublisher(context), monotonic_s=clock
    )

    def published() -> list[Message]:
        server.turn(0.1)
        messages = [entry for entry in broker.calls if isinstance(entry, Message)]
        broker.calls.clear()
        return [entry for entry in messages if entry.topic != ArchivePublisher.topic]

    store.owner_state.set_retention("ada", 7)
    broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
    first, nothing = published(), published()
    store.owner_state.set_retention("ada", 2)
    for text in ('{"a":1}', '{"a":2}'):
        store.owner_state.set_pending_keys("ada", {"hall": text})
    second = published()
    broker.events += [ConnectionLostEvent("gone"), ConnectedEvent(BrokerLimits(), "5")]
    again = published()

    assert nothing == []
    assert [entry.topic for entry in first] == ["earmark/v1/retention/ada"]
    assert all(entry.retain and entry.qos == 1 for entry in first + second)
    assert {entry.topic: entry.payload for entry in second} == {
        entry.topic: entry.payload for entry in again
    }
    payloads = {entry.topic: entry.payload for entry in second}
    assert payloads["earmark/v1/keys/hall"] == b'[{"a":1},{"a":2}]'
    public = context.key.public_key()

    def verify(signature: bytes, data: bytes) -> bool:
        public.verify(signature, data)
        return True

    assert retention_messages.parse(
        payloads["earmark/v1/retention/ada"], verify
    ) == retention_messages.RetentionLimit(owner="ada", days=2, n=2)


@pytest.mark.parametrize("known", [True, False])
def test_published_head_missing_from_the_log_is_reported(
    context: ArchiveContext,
    caplog: pytest.LogCaptureFixture,
    *,
    known: bool,
) -> None:
    publisher = ArchivePublisher(context)
    end = context.log.append(LogEntry(owner="ada", op="list", outcome="done"))
    head = receipts.SignedHead(
        n=end.n if known else end.n + 5, hash=end.hash, t=context.now(), archive=context.name
    )
    payload = json.dumps(receipts.sign(head, context.key)).encode()

    for data in (b"noise", payload):
        ArchivePublisher(context).on_message(Message(ArchivePublisher.topic, data, retain=False))
    publisher.on_message(Message(ArchivePublisher.topic, payload, retain=True))
    publisher.on_message(Message(ArchivePublisher.topic, payload, retain=True))

    assert ("does not contain the head" in caplog.text) is not known
    assert context.log.head().n == (1 if known else 3)


def test_process_that_is_not_elected_publishes_only_what_it_caused(
    context: ArchiveContext, store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    is_elected = [False]
    publisher = ArchivePublisher(context, lambda: is_elected[0])
    store.owner_state.set_retention("ada", 2)
    context.erased_clips.append(ErasedClip("ada", "hall", "a", "1" * 64))
    head = receipts.SignedHead(n=5, hash="1" * 64, t=context.now(), archive=context.name)
    payload = json.dumps(receipts.sign(head, context.key)).encode()
    publisher.on_message(Message(ArchivePublisher.topic, payload, retain=True))

    assert [one.topic for one in publisher.pending_messages()] == ["earmark/v1/ack/hall/a"]
    assert caplog.text == ""
    is_elected[0] = True
    assert [one.topic for one in publisher.pending_messages()] == [
        "earmark/v1/status/archive",
        "earmark/v1/retention/ada",
    ]
    assert "does not contain the head" in caplog.text
    is_elected[0] = False
    assert list(publisher.pending_messages()) == []
    # Another process may have published since: everything again.
    is_elected[0] = True
    assert len(list(publisher.pending_messages())) == 2


def test_accepted_number_is_published_before_the_acknowledgement(
    context: ArchiveContext,
    broker: FakeBroker,
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
    household: "Household",
) -> None:
    server = ArchiveService(
        broker,
        receiver,
        ExpirySweep(store, lambda: 0, make_clock(clock, clock)),
        publisher=ArchivePublisher(context),
        monotonic_s=clock,
    )
    broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
    server.turn(0.1)
    broker.calls.clear()

    for seq in (3, 4):
        header = household.header(seq)
        topic = f"earmark/v1/clips/ada/hall/{header.clip}"
        broker.events.append(Message(topic, household.seal(header), 1, retain=False))
    server.turn(0.1)
    broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
    server.turn(0.1)

    topics = [entry.topic for entry in broker.calls if isinstance(entry, Message)]
    kinds = [topic.split("/")[2] for topic in topics if "/status/" not in topic]
    assert kinds == ["sequence", "ack", "sequence", "ack", "sequence"]
    assert {topic for topic in topics if "sequence" in topic} == {"earmark/v1/sequence/hall"}
