"""Open asks: bounds, nonces, deadlines, and the life of a command key."""

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from listener.assist.asks import (
    Admission,
    Asks,
    CopyRefusal,
    CopyRefused,
)
from listener.voice import limits
from tests.assist.clocks import Clocks, CountedKeys


class Opened:
    """A table with clocks and keys."""

    def __init__(self) -> None:
        self.clocks = Clocks()
        self.keys = CountedKeys()
        self.asks = Asks(self.keys, self.clocks)

    def ask(self, nonce: str, device: str = "kitchen") -> str:
        """Admit and answer an ask; return the fingerprint of its command key."""
        assert self.asks.admit(nonce, device, None) is Admission.OPEN
        assert self.asks.answer(nonce) == self.keys.made[-1].recipient
        return self.keys.made[-1].fingerprint

    def refusal(self, nonce: str, key: str, part: int = 1, age_ms: int = 0) -> CopyRefusal:
        with pytest.raises(CopyRefused) as refused:
            self.asks.accept(nonce, "kitchen", key, part, age_ms)
        return refused.value.reason


@pytest.fixture
def opened() -> Opened:
    return Opened()


def test_copy_of_an_answered_ask_is_accepted_and_acted_on_once(opened: Opened) -> None:
    key = opened.ask("a")
    opened.clocks.run(2)

    opened.asks.accept("a", "kitchen", key, 1, 1500)
    ask = opened.asks.begin_act("a", 1500)

    assert (ask.device, ask.part) == ("kitchen", 1)
    with pytest.raises(CopyRefused) as refused:
        opened.asks.begin_act("a", 1500)
    assert refused.value.reason is CopyRefusal.DONE
    assert opened.refusal("a", key) is CopyRefusal.DONE


def test_key_is_gone_when_the_ask_has_ended(opened: Opened) -> None:
    class Key:
        recipient = "age1x"
        fingerprint = "k"
        secret = None

    asks = Asks(Key, opened.clocks)
    asks.admit("a", "kitchen", None)
    asks.answer("a")
    asks.accept("a", "kitchen", "k", 1, 0)
    alive = weakref.ref(asks.take_key("a", is_last=False))
    assert alive() is not None

    ask = asks.begin_act("a", 0)
    gc.collect()

    assert alive() is None, "the ask alone keeps its key"
    assert ask.key is None


def test_second_answer_makes_no_key(opened: Opened) -> None:
    opened.ask("a")

    assert opened.asks.answer("a") is None
    assert len(opened.keys.made) == 1


def test_same_nonce_is_a_replay_while_open_and_afterwards(opened: Opened) -> None:
    opened.ask("a")
    assert opened.asks.admit("a", "kitchen", None) is Admission.REPLAY

    opened.asks.end("a")
    opened.clocks.run(1000)

    assert opened.asks.admit("a", "kitchen", None) is Admission.REPLAY


@pytest.mark.parametrize(
    ("device", "key", "part", "age_ms", "reason"),
    [
        ("bedroom", "k1", 1, 0, CopyRefusal.ASK),
        ("kitchen", "k2", 1, 0, CopyRefusal.ASK),
        ("kitchen", "k1", 0, 0, CopyRefusal.PART),
        ("kitchen", "k1", 1, 5_001, CopyRefusal.AGE),
    ],
)
def test_copy_that_does_not_belong_to_the_ask_is_refused(
    opened: Opened, device: str, key: str, part: int, age_ms: int, reason: CopyRefusal
) -> None:
    opened.ask("a")
    opened.clocks.run(2)

    with pytest.raises(CopyRefused) as refused:
        opened.asks.accept("a", device, key, part, age_ms)

    assert refused.value.reason is reason


def test_parts_must_rise(opened: Opened) -> None:
    key = opened.ask("a")
    opened.asks.accept("a", "kitchen", key, 2, 0)

    assert opened.refusal("a", key, part=2) is CopyRefusal.PART
    assert opened.refusal("a", key, part=1) is CopyRefusal.PART
    opened.asks.accept("a", "kitchen", key, 3, 0)


def test_last_part_takes_the_key_with_it(opened: Opened) -> None:
    key = opened.ask("a")
    opened.asks.accept("a", "kitchen", key, 1, 0)

    assert opened.asks.take_key("a", is_last=False) is opened.asks.take_key("a", is_last=True)

    with pytest.raises(CopyRefused):
        opened.asks.take_key("a", is_last=False)
    assert opened.refusal("a", key, part=2) is CopyRefusal.PART
    opened.asks.begin_act("a", 0)


def test_unknown_ask_and_unanswered_ask_are_refused(opened: Opened) -> None:
    opened.asks.admit("a", "kitchen", None)

    assert opened.refusal("b", "k1") is CopyRefusal.UNKNOWN
    assert opened.refusal("a", "k1") is CopyRefusal.ASK


def test_deadline_is_judged_again_when_the_command_is_handed_on(opened: Opened) -> None:
    key = opened.ask("a")
    opened.clocks.run(6.5)
    opened.asks.accept("a", "kitchen", key, 1, 0)
    opened.clocks.run(0.5)

    with pytest.raises(CopyRefused) as refused:
        opened.asks.begin_act("a", 0)

    assert refused.value.reason is CopyRefusal.LATE
    assert opened.refusal("a", key) is CopyRefusal.LATE


@pytest.mark.parametrize("moved_s", [-1.1, 1.1, 3600.0, -1e9])
def test_ask_ends_when_the_clocks_move_against_each_other(opened: Opened, moved_s: float) -> None:
    key = opened.ask("a")
    opened.clocks.wall_s += moved_s

    assert opened.refusal("a", key) is CopyRefusal.LATE
    assert opened.asks.lost_by_clock == 1


def test_ask_ends_25_s_after_its_answer(opened: Opened) -> None:
    opened.ask("a")
    opened.clocks.run(24.9)
    opened.asks.expire()
    assert opened.asks.count() == {"kitchen": 1}

    opened.clocks.run(0.2)
    opened.asks.expire()

    assert not opened.asks.count()


def test_ask_that_is_never_answered_ends_too(opened: Opened) -> None:
    opened.asks.admit("a", "kitchen", None)
    opened.clocks.run(26)
    opened.asks.expire()

    assert opened.asks.answer("a") is None


def test_third_ask_of_a_device_within_a_second_is_busy(opened: Opened) -> None:
    assert opened.asks.admit("a", "kitchen", None) is Admission.OPEN
    assert opened.asks.admit("b", "kitchen", None) is Admission.OPEN
    assert opened.asks.admit("c", "kitchen", None) is Admission.BUSY
    assert opened.asks.admit("d", "bedroom", None) is Admission.OPEN

    opened.clocks.run(1)

    assert opened.asks.admit("e", "kitchen", None) is Admission.OPEN


def test_poke_counts_and_does_not_stay(opened: Opened) -> None:
    assert opened.asks.admit("a", "kitchen", "age1", opens=False) is Admission.OPEN
    assert opened.asks.admit("a", "kitchen", "age1", opens=False) is Admission.REPLAY
    assert opened.asks.admit("b", "kitchen", "age1", opens=False) is Admission.OPEN
    assert opened.asks.admit("c", "kitchen", "age1", opens=False) is Admission.BUSY

    assert not opened.asks.count()
    assert opened.asks.answer("a") is None


def test_clear_ends_all(opened: Opened) -> None:
    key = opened.ask("a")
    opened.asks.clear()

    assert opened.refusal("a", key) is CopyRefusal.ENDED


class AnyOrder(RuleBasedStateMachine):
    """Asks, copies, acts and time in any order: bounds hold, no act is late or a second one."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = Opened()
        self.answered: dict[str, tuple[str, str, float]] = {}
        self.copies: dict[str, int] = {}
        self.acted: list[str] = []
        self.next = 0

    @rule(device=st.sampled_from("abcdefghij"), speaks=st.booleans())
    def ask(self, *, device: str, speaks: bool) -> None:
        self.next += 1
        nonce = str(self.next)
        if self.opened.asks.admit(nonce, device, None) is Admission.OPEN and speaks:
            self.opened.asks.answer(nonce)
            key = self.opened.keys.made[-1].fingerprint
            self.answered[nonce] = (device, key, self.opened.clocks.boot_s)

    @rule(data=st.data(), part=st.integers(1, 3), age_ms=st.integers(0, 15_000))
    def copy(self, data: st.DataObject, part: int, age_ms: int) -> None:
        if self.answered:
            nonce = data.draw(st.sampled_from(sorted(self.answered)))
            device, key, _ = self.answered[nonce]
            try:
                self.opened.asks.accept(nonce, device, key, part, age_ms)
            except CopyRefused:
                return
            self.copies[nonce] = age_ms

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        if self.copies:
            nonce = data.draw(st.sampled_from(sorted(self.copies)))
            try:
                self.opened.asks.begin_act(nonce, self.copies[nonce])
            except CopyRefused:
                return
            since_s = self.opened.clocks.boot_s - self.answered[nonce][2]
            assert since_s - self.copies[nonce] / 1000 <= 7
            assert nonce not in self.acted
            self.acted.append(nonce)

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.opened.clocks.run(seconds)

    @rule(seconds=st.sampled_from([-5.0, 5.0]))
    def move_wall_clock(self, seconds: float) -> None:
        self.opened.clocks.wall_s += seconds

    @invariant()
    def bounds_hold(self) -> None:
        count = self.opened.asks.count()
        assert sum(count.values()) <= limits.MOST_OPEN_ASKS
        assert max(count.values(), default=0) <= limits.MOST_OPEN_ASKS_PER_DEVICE


TestAnyOrder = AnyOrder.TestCase


@given(st.integers(1, 60))
def test_nonces_are_bounded_and_the_newest_are_known(many: int) -> None:
    opened = Opened()
    for number in range(limits.MOST_SEEN_ASKS + many):
        opened.clocks.run(1)
        assert opened.asks.admit(str(number), "kitchen", None, opens=False) is Admission.OPEN

    newest = [str(number) for number in range(many, limits.MOST_SEEN_ASKS + many)]
    assert all(opened.asks.admit(nonce, "kitchen", None) is Admission.REPLAY for nonce in newest)
