"""What the archive says unasked, and what it notices in what it said before."""

import json
from typing import TYPE_CHECKING

import pytest

from listener.archive.context import ArchiveContext, ErasedClip
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.service import ArchiveService, ExpirySweep
from listener.archive.store import FileStore
from listener.mqtt import retention as terms
from listener.mqtt.client import BrokerLimits, ConnectedEvent, ConnectionLostEvent, Message
from listener.rights import receipts
from listener.storage.access_log import LogEntry
from tests.archive.wire import FakeBroker

if TYPE_CHECKING:
    from tests.archive.conftest import FakeClock


def test_the_head_is_published_when_it_moves_and_tombstones_go_to_devices(
    holdings: ArchiveContext,
    broker: FakeBroker,
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
) -> None:
    server = ArchiveService(
        broker,
        receiver,
        ExpirySweep(store, lambda: 0, clock, clock),
        herald=ArchivePublisher(holdings),
        monotonic_s=clock,
    )
    broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))
    for _ in range(2):
        server.turn(0.1)
    holdings.log.append(LogEntry(owner="ada", op="list", outcome="done"))
    holdings.gone.append(ErasedClip("hall", "00000000-0000-4000-8000-000000000000", "1" * 64))
    server.turn(0.1)

    said = [one for one in broker.did if isinstance(one, Message)]
    heads = [one for one in said if one.topic == "earmark/v1/status/archive"]
    assert all(one.retain for one in heads)
    key = holdings.key.public_key()
    assert [receipts.parse_head(one.payload, key).n for one in heads] == [0, 1]
    (stone,) = [one for one in said if one not in heads]
    assert stone.topic == "earmark/v1/ack/hall/00000000-0000-4000-8000-000000000000"
    assert stone.payload == b"refused:erased:" + b"1" * 64


def test_what_owners_chose_is_said_on_each_connection_and_when_it_changes(
    holdings: ArchiveContext,
    broker: FakeBroker,
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
) -> None:
    retention = ExpirySweep(store, lambda: 0, clock, clock)
    server = ArchiveService(
        broker, receiver, retention, herald=ArchivePublisher(holdings), monotonic_s=clock
    )

    def said() -> list[Message]:
        server.turn(0.1)
        found = [one for one in broker.did if isinstance(one, Message)]
        broker.did.clear()
        return [one for one in found if one.topic != ArchivePublisher.topic]

    store.orders.set_retention("ada", 7)
    broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))
    first, nothing = said(), said()
    store.orders.set_retention("ada", 2)
    for text in ('{"a":1}', '{"a":2}'):
        store.orders.set_pending_keys({"hall": text})
    second = said()
    broker.happens += [ConnectionLostEvent("gone"), ConnectedEvent(BrokerLimits(), "5")]
    again = said()

    assert nothing == []
    assert [one.topic for one in first] == ["earmark/v1/retention/ada"]
    assert all(one.retain and one.qos == 1 for one in first + second)
    assert {one.topic: one.payload for one in second} == {one.topic: one.payload for one in again}
    told = {one.topic: one.payload for one in second}
    assert told["earmark/v1/keys/hall"] == b'[{"a":1},{"a":2}]'
    public = holdings.key.public_key()

    def verify(signature: bytes, data: bytes) -> bool:
        public.verify(signature, data)
        return True

    assert terms.parse(told["earmark/v1/retention/ada"], verify) == terms.RetentionLimit(
        owner="ada", days=2, n=2
    )


@pytest.mark.parametrize("known", [True, False])
def test_a_head_on_the_broker_that_the_log_does_not_hold_is_noticed(
    holdings: ArchiveContext,
    caplog: pytest.LogCaptureFixture,
    *,
    known: bool,
) -> None:
    herald = ArchivePublisher(holdings)
    end = holdings.log.append(LogEntry(owner="ada", op="list", outcome="done"))
    kept = receipts.SignedHead(
        n=end.n if known else end.n + 5, hash=end.hash, t=holdings.now(), archive=holdings.name
    )
    payload = json.dumps(receipts.sign(kept, holdings.key)).encode()

    for data in (b"noise", payload):
        ArchivePublisher(holdings).on_message(Message(ArchivePublisher.topic, data, retain=False))
    herald.on_message(Message(ArchivePublisher.topic, payload, retain=True))
    herald.on_message(Message(ArchivePublisher.topic, payload, retain=True))

    assert ("does not hold the head" in caplog.text) is not known
    assert holdings.log.head().n == (1 if known else 3)
