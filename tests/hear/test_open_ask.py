"""State machine of the open ask, also with random messages, delays and clocks."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from listener.hear.open_ask import CommandGrant, Instant, OpenAsk, Rejection
from listener.voice import timing
from listener.voice.limits import MOST_WRONG_SIGNATURES
from listener.voice.messages import Answer, Outcome

ASK, OTHER = "0" * 32, "1" * 32
KEY = "age1" + "q" * 58
WALL_S = 1_000_000.0


def at(boot_s: float, moved_s: float = 0.0) -> Instant:
    return Instant(boot_s, WALL_S + boot_s + moved_s)


def speak(ask: str = ASK, device: str = "hall") -> Answer:
    return Answer(ask=ask, device=device, key=KEY, verdict="speak")


def said(verdict: str) -> Answer:
    return Answer(ask=ASK, device="hall", key=None, verdict=verdict)  # type: ignore[arg-type]  # one of the literals


def done(ask: str = ASK) -> Outcome:
    return Outcome(ask=ask, device="hall", outcome="done")


def yes() -> bool:
    return True


def no() -> bool:
    return False


def unreached() -> bool:
    raise AssertionError("a signature was verified that needed none")


def asked() -> OpenAsk:
    opened = OpenAsk("hall")
    assert opened.begin(ASK, at(0.0), at(0.01)) is None
    return opened


def granted() -> OpenAsk:
    opened = asked()
    assert opened.take_answer(speak(), yes, at(0.1)) is None
    return opened


def test_answer_in_time_grants_the_copy_and_the_outcome_ends_the_ask() -> None:
    opened = granted()

    grant = opened.grant(at(2.0))
    assert grant == CommandGrant(ASK, KEY, at(0.01))
    opened.lay(ASK, at(2.1))

    assert opened.take_outcome(done(), yes, at(3.0)) == "done"
    assert not opened.is_open


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (speak(ask=OTHER), Rejection.NOT_OPEN),
        (speak(device="bath"), Rejection.NOT_OPEN),
    ],
)
def test_message_for_another_ask_or_device_costs_no_signature(
    answer: Answer, expected: Rejection
) -> None:
    assert asked().take_answer(answer, unreached, at(0.1)) is expected
    assert OpenAsk("hall").take_answer(speak(), unreached, at(0.1)) is Rejection.NOT_OPEN


def test_first_valid_answer_stands() -> None:
    opened = asked()
    assert opened.take_answer(speak(), no, at(0.1)) is Rejection.FORGED
    assert opened.take_answer(said("elsewhere"), yes, at(0.2)) is None

    assert opened.take_answer(speak(), unreached, at(0.3)) is Rejection.REPEATED
    assert opened.grant(at(1.0)) == "elsewhere"


@pytest.mark.parametrize("verdict", ["elsewhere", "busy"])
def test_refused_ask_makes_no_copy(verdict: str) -> None:
    opened = asked()
    opened.take_answer(said(verdict), yes, at(0.1))

    assert opened.grant(at(1.0)) == verdict
    assert not opened.is_open


def test_after_three_wrong_signatures_no_answer_counts() -> None:
    opened = asked()
    for _ in range(MOST_WRONG_SIGNATURES):
        assert opened.take_answer(speak(), no, at(0.1)) is Rejection.FORGED

    assert opened.take_answer(speak(), unreached, at(0.2)) is Rejection.FORGED
    assert opened.grant(at(1.0)) == "no-answer"


def test_answer_more_than_three_seconds_after_the_wake_is_late() -> None:
    opened = OpenAsk("hall")
    opened.begin(ASK, at(0.0), at(0.9))

    assert opened.take_answer(speak(), unreached, at(timing.ANSWER_S + 0.01)) is Rejection.LATE
    assert opened.take_answer(speak(), yes, at(timing.ANSWER_S)) is None


def test_answer_after_the_endpoint_is_not_used() -> None:
    opened = asked()
    assert opened.grant(at(1.0)) == "no-answer"

    assert opened.take_answer(speak(), unreached, at(1.1)) is Rejection.NOT_OPEN


def test_answer_while_the_copy_is_sealed_is_late() -> None:
    opened = granted()
    opened.grant(at(1.0))

    assert opened.take_answer(speak(), unreached, at(1.1)) is Rejection.LATE


@pytest.mark.parametrize("moved_s", [-1.1, 1.1, 86_400.0, -WALL_S])
def test_clock_that_was_set_ends_the_ask(moved_s: float) -> None:
    opened = granted()

    assert opened.grant(at(1.0, moved_s)) == "clock"
    assert not opened.is_open


def test_missing_outcome_is_unknown_after_15_s() -> None:
    opened = granted()
    opened.grant(at(1.0))
    opened.lay(ASK, at(1.0))

    assert opened.expire(at(1.0 + timing.OUTCOME_S)) is None
    late = at(1.0 + timing.OUTCOME_S + 0.1)
    assert opened.take_outcome(done(), unreached, late) is Rejection.LATE
    assert opened.expire(late) == "unknown"
    assert opened.expire(late) is None


def test_outcome_before_a_copy_does_not_count() -> None:
    assert granted().take_outcome(done(), unreached, at(0.2)) is Rejection.NOT_OPEN


def test_another_wake_ends_the_ask() -> None:
    opened = granted()
    assert opened.begin(OTHER, at(1.0), at(1.0)) is None, "its clip had no endpoint"
    assert opened.take_answer(speak(), unreached, at(1.1)) is Rejection.NOT_OPEN
    opened.take_answer(speak(OTHER), yes, at(1.1))
    opened.grant(at(2.0))
    opened.lay(OTHER, at(2.0))

    assert opened.begin(ASK, at(3.0), at(3.0)) == "unknown"
    assert opened.take_outcome(done(OTHER), unreached, at(3.1)) is Rejection.NOT_OPEN


def test_report_about_an_ask_that_has_ended_changes_nothing() -> None:
    opened = granted()
    opened.grant(at(1.0))
    opened.begin(OTHER, at(1.5), at(1.5))

    opened.lay(ASK, at(1.6))
    assert not opened.drop(ASK)

    assert opened.take_answer(speak(OTHER), yes, at(1.7)) is None


def test_ask_without_an_endpoint_ends_once() -> None:
    opened = granted()

    assert opened.end()
    assert not opened.end()
    assert opened.grant(at(1.0)) is None


def test_copy_that_was_not_made_ends_the_ask() -> None:
    opened = granted()
    opened.grant(at(1.0))

    assert not opened.end(), "the sealer reports the end of it"
    assert opened.drop(ASK)
    assert not opened.is_open


class AskMachine(RuleBasedStateMachine):
    """Wakes, messages of anyone, endpoints and clocks in any order, beside what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = OpenAsk("hall")
        self.now_s = 0.0
        self.count = 0
        self.current = ""
        self.past: list[str] = []
        self.woke_s = 0.0
        self.answered: dict[str, str | None] = {}
        self.granted: set[str] = set()
        self.laid_s: dict[str, float] = {}
        self.ends: dict[str, int] = {}
        self.wrong = 0

    def at(self) -> Instant:
        return at(self.now_s)

    def end(self, ask: str) -> None:
        self.ends[ask] = self.ends.get(ask, 0) + 1

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.08, 0.5, 2.9, 3.1, 16.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def wake(self) -> None:
        self.count += 1
        before, self.current = self.current, f"{self.count:032x}"
        if self.opened.begin(self.current, self.at(), self.at()) == "unknown":
            self.end(before)
        self.past.append(self.current)
        self.woke_s, self.wrong = self.now_s, 0

    @precondition(lambda self: self.past)
    @rule(data=st.data(), verdict=st.sampled_from(["speak", "busy"]), is_true=st.booleans())
    def answer(self, data: st.DataObject, verdict: str, *, is_true: bool) -> None:
        ask = data.draw(st.sampled_from(self.past))
        key = KEY if verdict == "speak" else None
        answer = Answer(ask=ask, device="hall", key=key, verdict=verdict)  # type: ignore[arg-type]  # one of the literals
        verify = self.verifier(ask, is_true=is_true)

        if self.opened.take_answer(answer, verify, self.at()) is None:
            assert is_true
            assert ask == self.current
            assert self.now_s - self.woke_s <= timing.ANSWER_S
            assert ask not in self.answered
            self.answered[ask] = key

    @rule()
    def endpoint(self) -> None:
        grant = self.opened.grant(self.at())
        if isinstance(grant, CommandGrant):
            assert grant.key == self.answered[grant.ask] == KEY
            assert grant.ask == self.current
            assert grant.ask not in self.granted
            self.granted.add(grant.ask)
        elif grant is not None:
            self.end(self.current)

    @precondition(lambda self: self.granted)
    @rule(data=st.data(), is_made=st.booleans())
    def report(self, data: st.DataObject, *, is_made: bool) -> None:
        ask = data.draw(st.sampled_from(sorted(self.granted)))
        if is_made:
            self.opened.lay(ask, self.at())
            self.laid_s.setdefault(ask, self.now_s)
        elif self.opened.drop(ask):
            self.end(ask)

    @precondition(lambda self: self.past)
    @rule(data=st.data(), is_true=st.booleans())
    def outcome(self, data: st.DataObject, *, is_true: bool) -> None:
        ask = data.draw(st.sampled_from(self.past))
        verify = self.verifier(ask, is_true=is_true)
        outcome = Outcome(ask=ask, device="hall", outcome="failed")

        if self.opened.take_outcome(outcome, verify, self.at()) == "failed":
            assert is_true
            assert ask in self.granted
            self.end(ask)

    @rule()
    def mute(self) -> None:
        if self.opened.end():
            self.end(self.current)

    @rule()
    def turn(self) -> None:
        if self.opened.expire(self.at()) is not None:
            self.end(self.current)

    def verifier(self, ask: str, *, is_true: bool) -> Callable[[], bool]:
        def verify() -> bool:
            assert ask == self.current, "only the open ask may cost a signature"
            self.wrong += not is_true
            # For an answer, and anew for the outcome.
            assert self.wrong <= 2 * MOST_WRONG_SIGNATURES
            return is_true

        return verify

    @invariant()
    def each_ask_ends_at_most_once(self) -> None:
        assert all(count == 1 for count in self.ends.values())

    @invariant()
    def no_ask_is_open_that_has_ended(self) -> None:
        assert not (self.opened.is_open and self.current in self.ends)


TestAskMachine = AskMachine.TestCase
TestAskMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(
    wake_to_ask_s=st.floats(0, 1),
    to_answer_s=st.floats(0, 5),
    to_endpoint_s=st.floats(0, 20),
)
def test_no_grant_from_an_answer_later_than_three_seconds_after_the_wake(
    wake_to_ask_s: float, to_answer_s: float, to_endpoint_s: float
) -> None:
    opened = OpenAsk("hall")
    opened.begin(ASK, at(100.0), at(100.0 + wake_to_ask_s))
    answered_s = 100.0 + wake_to_ask_s + to_answer_s
    opened.take_answer(speak(), yes, at(answered_s))

    grant = opened.grant(at(answered_s + to_endpoint_s))

    assert isinstance(grant, CommandGrant) == (answered_s - 100.0 <= timing.ANSWER_S)
