"""What every store promises: files with SQLite, and objects with PostgreSQL."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from listener.archive.archive_clock import ArchiveClock
from listener.archive.elapsed_time import ArchiveTime, Shift
from listener.archive.fleet.fleet_store import FleetStore
from listener.archive.owner_state import MOST_SPANS, PendingConsent, make_tombstone
from listener.archive.pending_messages import PendingMessage
from listener.archive.receiver import Receiver
from listener.archive.records import Erased, Replayed
from listener.archive.storage_interfaces import ClipStore
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.errors import UsageError
from listener.mqtt import topics
from listener.mqtt.client import Message
from tests.archive.conftest import FakeClock
from tests.archive.stored_clips import T_S, T, store_clip

if TYPE_CHECKING:
    from tests.conftest import Household

AnyStore = FileStore | FleetStore
DAY_S = 86_400


def repair(store: AnyStore, household: "Household") -> int:
    verify = Receiver(store, household.home.roster, lambda: T_S).verify_stored
    if isinstance(store, FleetStore):
        return store.repair(verify, grace_s=0)
    return store.repair(verify)


def offer(store: ClipStore, data: bytes) -> bool:
    return store.keep(form.parse_envelope(data), data, T_S)


def test_clip_is_stored_once_and_read_back(any_store: AnyStore, household: "Household") -> None:
    header = household.header(1)
    data = household.seal(header)

    assert offer(any_store, data)
    assert not offer(any_store, data)

    assert any_store.blobs.get("ada", header.clip) == data
    assert any_store.blobs.get("bob", header.clip) is None
    assert list(any_store.blobs.ids("ada")) == [header.clip]
    assert [record.clip for record in any_store.clips()] == [header.clip]
    assert any_store.row(header.clip) == (
        "ada",
        make_tombstone(form.parse_envelope(data), hashlib.sha256(data).hexdigest()),
    )
    assert any_store.has_sealed("ada", "hall")
    assert not any_store.has_sealed("ada", "kitchen")
    assert any_store.highest_seqs([header.dkey, "other"]) == {header.dkey: 1}


def test_id_number_and_ciphertext_are_used_once(
    any_store: AnyStore, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    offer(any_store, data)

    same_id = household.seal(msgspec.structs.replace(header, seq=2))
    same_number = household.seal(household.header(1))
    for other in (same_id, same_number):
        with pytest.raises(Replayed):
            offer(any_store, other)

    assert list(any_store.blobs.ids("ada")) == [header.clip]
    assert any_store.blobs.get("ada", header.clip) == data


def test_erased_clip_is_not_stored_again(any_store: AnyStore, household: "Household") -> None:
    header = household.header(1)
    data = household.seal(header)
    offer(any_store, data)
    sha256 = hashlib.sha256(data).hexdigest()
    any_store.erase("ada", [make_tombstone(form.parse_envelope(data), sha256)])

    with pytest.raises(Erased):
        offer(any_store, data)
    assert any_store.owner_state.is_erased(header.clip)
    assert any_store.row(header.clip) is None
    assert not any_store.blobs.exists("ada", header.clip)
    assert any_store.highest_seq(header.dkey) == 1
    with pytest.raises(Replayed):
        offer(any_store, household.seal(household.header(1)))


def test_expired_clip_is_erased_with_its_file(any_store: AnyStore, household: "Household") -> None:
    header = household.header(1, t=T)
    data = household.seal(header)
    offer(any_store, data)
    kept = store_clip(any_store, household, 2, ttl_s=2 * DAY_S)

    assert any_store.expire(T_S + DAY_S - 1) == 0
    assert any_store.expire(T_S + DAY_S) == 1

    assert [record.clip for record in any_store.clips()] == [kept.clip]
    assert not any_store.blobs.exists("ada", header.clip)
    with pytest.raises(Erased):
        offer(any_store, data)


def test_owners_limit_shortens_retention(any_store: AnyStore, household: "Household") -> None:
    any_store.owner_state.set_retention("ada", 1)
    store_clip(any_store, household, 1, ttl_s=30 * DAY_S)
    kept = store_clip(any_store, household, 2, owner="bob", ttl_s=30 * DAY_S)

    assert any_store.expire(T_S + DAY_S) == 1
    assert [record.clip for record in any_store.clips()] == [kept.clip]


def test_pages_are_in_order_of_time(any_store: AnyStore, household: "Household") -> None:
    headers = [
        store_clip(any_store, household, seq, t=f"2026-11-22T08:00:0{9 - seq}.000Z")
        for seq in range(1, 6)
    ]
    store_clip(any_store, household, 6, owner="bob")
    expected = [header.clip for header in reversed(headers)]

    first = any_store.page("ada", ("", "A"), limit=2)
    rest = any_store.page("ada", ("", "A"), after=f"{first[-1].t}/{first[-1].clip}")

    assert [record.clip for record in first + rest] == expected
    assert any_store.page("ada", ("2026-11-22T08:00:05.000Z", "A"))[0].clip == expected[1]
    assert any_store.page("ada", ("", "2026-11-22T08:00:05.000Z"))[0].clip == expected[0]
    assert any_store.page("ada", ("", "A"), device="kitchen") == []
    assert len(any_store.page(None, ("", "A"))) == 6
    assert all(valid for _, valid in any_store.page_with_mac_check("ada", ("", "A")))
    assert any_store.newest("ada", "hall") == headers[-1].clip


def test_order_refuses_what_was_made_before(any_store: AnyStore, household: "Household") -> None:
    store_clip(any_store, household, 5)
    any_store.refuse_span("ada", ("", "A"), None, ArchiveTime(T_S, 0.0, T_S))

    late = household.seal(household.header(4))
    with pytest.raises(Erased):
        offer(any_store, late)
    with pytest.raises(Erased):  # by its tombstone, whatever becomes of the order
        offer(any_store, late)
    assert not any_store.blobs.exists("ada", form.parse_envelope(late).header.clip)
    assert offer(any_store, household.seal(household.header(6)))
    assert offer(any_store, household.seal(household.header(3, "bob")))


class Arrival:
    """Arrival of clips after an order to erase all of Ada's."""

    def __init__(self, store: AnyStore, household: "Household", monotonic: FakeClock) -> None:
        self._store = store
        self._household = household
        self._monotonic = monotonic
        self._seq = 0
        self._clock = ArchiveClock(store)
        roster = household.home.roster
        self._receiver = Receiver(
            store, roster, lambda: T_S, None, self._clock, monotonic_s=monotonic
        )

    def order(self, ago_s: float) -> None:
        """Give the order, so long ago."""
        now = self._clock.now()
        then = replace(
            now,
            accepted_s=now.accepted_s - ago_s,
            lived_s=now.lived_s - ago_s,
            wall_s=now.wall_s - ago_s,
        )
        self._store.refuse_span("ada", ("", "A"), None, then)
        if isinstance(self._store, FleetStore):
            with self._store.database.transaction() as connection:
                connection.execute("update erase_order set ordered_s = ordered_s - %s", (ago_s,))

    def make(self, signed_ago_s: float) -> tuple[str, bytes]:
        """Make a clip; return its topic and its bytes."""
        self._seq += 1
        signed = datetime.fromtimestamp(self._clock.now().wall_s - signed_ago_s, UTC)
        header = self._household.header(self._seq, t=form.format_timestamp(signed))
        topic = topics.CLIP.name(owner="ada", device="hall", clip=header.clip)
        return topic, self._household.seal(header)

    def offer(
        self, clip: tuple[str, bytes], waited_s: int, kept_s: int | None, unread_s: float = 0.1
    ) -> str:
        """Deliver a clip; return the word of the answer, empty if it is stored.

        Args:
            clip: topic and bytes.
            waited_s: time that it waited at its speaker.
            kept_s: time for which the broker kept it; None without MQTT 5.
            unread_s: time since the connection had nothing to read.
        """
        left_s = None if kept_s is None else topics.CLIP_EXPIRY_S - kept_s
        since_s = None if kept_s is None else self._monotonic.now_s - unread_s
        message = Message(*clip, waited_s=waited_s, left_s=left_s, unread_since_s=since_s)
        answer = self._receiver.receive(message)
        assert answer is not None
        parsed = topics.parse_answer(answer.payload)
        assert parsed is not None
        return "deferred" if parsed.is_deferred else parsed.refused


def test_clip_that_waited_in_a_broker_past_an_order_is_not_stored(
    any_store: AnyStore, household: "Household", clock: FakeClock
) -> None:
    arrival = Arrival(any_store, household, clock)
    arrival.order(30)

    # None was stored before. Sealed 41 s ago, of which the broker kept it for 40 s.
    assert arrival.offer(arrival.make(41), 1, 40) == "erased"
    # Sealed a second before the order; the whole seconds that are counted hide it.
    assert arrival.offer(arrival.make(31), 0, 29) == "erased"
    # The archive did not read its connection for 45 s.
    unread = arrival.make(41)
    assert arrival.offer(unread, 1, 0, unread_s=45) == "deferred"
    assert arrival.offer(unread, 41, 0) == "erased"
    # The broker did not read its connection for 40 s: no clock shows that.
    stuck = arrival.make(41)
    assert arrival.offer(stuck, 1, 0) == "deferred"
    arrival.order(70)
    assert arrival.offer(stuck, 81, 0) == "erased"
    assert list(any_store.clips()) == []
    assert list(any_store.blobs.ids("ada")) == []


def test_clip_made_after_an_order_is_stored(
    any_store: AnyStore, household: "Household", clock: FakeClock
) -> None:
    arrival = Arrival(any_store, household, clock)
    arrival.order(30)

    assert arrival.offer(arrival.make(20), 1, 18) == ""
    assert arrival.offer(arrival.make(24), 0, 0) == ""
    # The wall clock of its speaker is three days behind: it is stored a minute after the order.
    late = arrival.make(3 * DAY_S)
    assert arrival.offer(late, 1, 0) == "deferred"
    arrival.order(61)
    assert arrival.offer(late, 32, 0) == ""
    # Without MQTT 5 nothing measures the time in transit; one clock alone refuses nothing.
    assert arrival.offer(arrival.make(90), 0, None) == ""
    assert len(list(any_store.clips("ada"))) == 4


def test_retention_counts_the_time_in_the_broker(
    any_store: AnyStore, household: "Household", clock: FakeClock
) -> None:
    arrival = Arrival(any_store, household, clock)
    assert arrival.offer(arrival.make(41), 1, 40) == ""

    (record,) = any_store.clips()
    assert 40 <= record.received_s + record.ttl_s - record.expires_s <= 42


def test_orders_are_bounded_for_each_owner(any_store: AnyStore) -> None:
    def order(owner: str, second: int) -> None:
        span = (f"2026-11-21T08:{second // 60:02}:{second % 60:02}.000Z",) * 2
        any_store.refuse_span(owner, span, None, ArchiveTime(T_S, 0.0, T_S))

    for second in range(MOST_SPANS):
        order("bob", second)
    with pytest.raises(UsageError, match="too many orders"):
        order("bob", MOST_SPANS)
    order("ada", 0)
    any_store.refuse_span("bob", ("", "A"), None, ArchiveTime(T_S, 0.0, T_S))
    order("bob", 0)


def test_repair_restores_the_row_of_a_file(any_store: AnyStore, household: "Household") -> None:
    header = household.header(1)
    data = household.seal(header)
    any_store.blobs.put_new("ada", header.clip, data)

    assert repair(any_store, household) == 1
    assert repair(any_store, household) == 0

    assert [record.clip for record in any_store.clips("ada")] == [header.clip]
    assert not offer(any_store, data)


def test_repair_erases_what_a_crash_left_of_an_erasure(
    any_store: AnyStore, household: "Household"
) -> None:
    header = store_clip(any_store, household)
    data = any_store.blobs.get("ada", header.clip)
    assert data is not None
    any_store.expire(T_S + DAY_S)
    any_store.blobs.put_new("ada", header.clip, data)

    assert repair(any_store, household) == 0
    assert not any_store.blobs.exists("ada", header.clip)


def test_file_that_does_not_verify_goes_to_quarantine_and_expires(
    any_store: AnyStore, household: "Household"
) -> None:
    headers = [household.header(seq) for seq in (1, 2)]
    for header in headers:
        any_store.blobs.put_new("ada", header.clip, household.seal(header)[:-5])

    assert repair(any_store, household) == 0
    assert any_store.count_quarantined("ada") == any_store.count_quarantined() == 2
    assert list(any_store.blobs.ids("ada")) == []

    assert any_store.erase_quarantined("bob", lambda _: True) == []
    erased = any_store.erase_quarantined("ada", lambda file: file.has_id({headers[0].clip}))
    assert [(file.clip, file.device) for file in erased] == [(headers[0].clip, "hall")]
    assert any_store.owner_state.is_erased(headers[0].clip)
    # Its retention counts from the signed time, which is that of this test.
    assert any_store.expire(2**33) == 1
    assert any_store.count_quarantined() == 0


def test_retention_limit_is_numbered_by_its_changes(any_store: AnyStore) -> None:
    state = any_store.owner_state
    assert state.retention_of("ada") is None
    state.set_retention("ada", 7)
    before = state.version, state.retention_limits()

    state.set_retention("ada", 7)

    assert (state.version, state.retention_limits()) == before
    state.set_retention("ada", 8)
    assert state.version == before[0] + 1
    assert [(one.owner, one.days, one.n) for one in state.retention_limits()] == [("ada", 8, 2)]
    assert state.retention_of("ada") == 8


def test_key_rotations_are_bounded_for_each_owner(any_store: AnyStore) -> None:
    state = any_store.owner_state
    state.set_pending_keys("ada", {"hall": '{"new":"age1new"}', "kitchen": '{"new":"age1new"}'})
    for number in range(40):
        state.set_pending_keys("bob", {"hall": f'"{number}"'})

    pending = state.pending_keys()
    assert [one.text for one in pending["hall"] if one.owner == "bob"] == [
        f'"{number}"' for number in range(24, 40)
    ]
    assert PendingMessage("ada", '{"new":"age1new"}') in pending["hall"]
    assert state.devices_with_pending_key("ada", "age1new") == ["hall", "kitchen"]
    assert state.devices_with_pending_key("bob", "age1new") == []


def test_newest_consent_of_each_owner_is_kept(any_store: AnyStore) -> None:
    state = any_store.owner_state
    first, other, newer = (
        PendingConsent(owner, "hall", "okey", "dkey", n, f"{owner}-{n}")
        for owner, n in (("ada", 1), ("bob", 1), ("ada", 2))
    )
    state.set_consents([first, other])
    with pytest.raises(UsageError, match="not newer"):
        state.set_consents([first])
    state.set_consents([newer])

    assert state.consents() == [other, newer]
    assert state.remove_consents(lambda one: one.owner == "bob") == 1
    assert state.consents() == [newer]
    assert state.consent_devices() == ["hall"]


def test_clock_is_stored_with_the_clips_it_changes(
    any_store: AnyStore, household: "Household"
) -> None:
    assert any_store.load_time() is None
    any_store.save_time(b'{"a":1}', 1)
    store_clip(any_store, household, 1)
    any_store.save_time(b'{"a":2}', 2)
    late = store_clip(any_store, household, 2)

    any_store.save_time(b'{"a":3}', 2, shifts=[Shift(1, 1, 100)])

    assert any_store.load_time() == b'{"a":3}'
    times = {record.seq: record.received_s for record in any_store.clips()}
    assert times == {1: T_S + 100, 2: T_S}
    assert late.seq == 2
    assert any_store.newest_arrival() == T_S + 100
    assert any_store.newest_start() == 2
    assert all(valid for _, valid in any_store.page_with_mac_check("ada", ("", "A")))


def test_erasure_of_an_unknown_clip_refuses_it(any_store: AnyStore, household: "Household") -> None:
    header = household.header(7)
    data = household.seal(header)
    sha256 = hashlib.sha256(data).hexdigest()
    any_store.erase("ada", [make_tombstone(form.parse_envelope(data), sha256)])

    with pytest.raises(Erased):
        offer(any_store, data)
    assert any_store.owner_state.is_erased(header.clip)
