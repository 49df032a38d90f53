"""A model of three speakers, a broker that delays, and assist, run by the rules of ``timing``.

True time is the model's own. Each machine has a clock of its own with an offset and a drift of up
to 200 ppm. The broker delays, repeats and drops every message as it likes, with a preference for
moments just inside the limits; hear, send and assist restart. The model checks each act: at most
10 s after the sealing, once an ask, and once a sentence however many speakers it woke.
"""

import heapq
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import pytest

from listener.voice import timing

SENTENCES: Final = int(os.environ.get("EARMARK_MODEL_SENTENCES", "12000"))
SPEAKERS: Final = 3
DRIFT: Final = 200e-6
LIMIT_S: Final = 10.0


class Clock:
    """Two clocks of one machine by one oscillator."""

    def __init__(self, chance: random.Random) -> None:
        self._rate = 1 + chance.choice((-DRIFT, DRIFT, chance.uniform(-DRIFT, DRIFT)))
        self._boot_offset_s = chance.uniform(0, 1e6)
        self._wall_offset_s = chance.uniform(-1e9, 1e9)

    def boot_s(self, true_s: float) -> float:
        return self._rate * true_s + self._boot_offset_s

    def wall_s(self, true_s: float) -> float:
        return self._rate * true_s + self._wall_offset_s

    def pause(self, length_s: float) -> None:
        """Stop CLOCK_BOOTTIME for a time; the wall clock is right afterwards."""
        self._boot_offset_s -= length_s

    def true_s(self, boot_s: float) -> float:
        return (boot_s - self._boot_offset_s) / self._rate


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment on both clocks of a machine."""

    boot_s: float
    wall_s: float

    @classmethod
    def of(cls, clock: Clock, true_s: float) -> "Stamp":
        return cls(clock.boot_s(true_s), clock.wall_s(true_s))

    def is_broken(self, clock: Clock, true_s: float) -> bool:
        return timing.clock_moved(
            self.boot_s, self.wall_s, clock.boot_s(true_s), clock.wall_s(true_s)
        )


@dataclass(slots=True)
class OpenAsk:
    """What hear has in memory of its open ask."""

    ask: int
    sentence: int
    wake: Stamp
    signed: Stamp
    key: int | None = None
    """The command key of the first answer that was in time."""
    is_over: bool = False


@dataclass(slots=True)
class Speaker:
    """One speaker: its hear, and the copies that its send holds."""

    name: int
    clock: Clock
    open: OpenAsk | None = None
    send_starts: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """A sealed command copy in transport."""

    ask: int
    key: int
    sentence: int
    part: int
    age_ms: int
    sealed_true_s: float


@dataclass(slots=True)
class KeptAsk:
    """What assist has in memory of an ask."""

    speaker: int
    arrived: Stamp
    answered: Stamp | None = None
    key: int | None = None
    """The command key, which exists here alone."""
    last_part: int = 0


@dataclass(slots=True)
class Assist:
    """Assist's memory; a restart makes a new one."""

    started_s: float
    asks: dict[int, KeptAsk] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)
    winner: tuple[int, float] | None = None
    """The chosen speaker, and the arrival of its ask."""


@dataclass(frozen=True, slots=True)
class Act:
    """An act, by the model's true time."""

    ask: int
    sentence: int
    late_s: float
    """From the sealing to the act."""


class Model:
    """A household and its events, in true time."""

    def __init__(self, seed: int, pauses_s: tuple[float, float] | None = None) -> None:
        """Start a household.

        Args:
            seed: of all its chances.
            pauses_s: shortest and longest pause of a machine; None: no machine is paused.
        """
        self.chance = random.Random(seed)
        self.pauses_s = pauses_s
        self.acts: list[Act] = []
        self.now_s = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._asks = count(1)
        self._keys = count(1)
        self.clock = Clock(self.chance)
        self.assist = Assist(self.clock.boot_s(-60))
        self.speakers = [Speaker(name, Clock(self.chance)) for name in range(SPEAKERS)]

    def at(self, true_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (max(true_s, self.now_s), next(self._order), do))

    def run(self) -> None:
        while self._queue:
            self.now_s, _, do = heapq.heappop(self._queue)
            do()

    # The broker.

    def carry(self, arrive: Callable[[], None], *aims_s: float) -> None:
        """Deliver a message after any delay, now and then repeatedly or never.

        Args:
            arrive: what its arrival does.
            aims_s: true times near which a hostile operator would deliver it.
        """
        chance = self.chance
        for _ in range(chance.choice((0, 1, 1, 1, 1, 1, 1, 2, 3))):
            kind = chance.random()
            if kind < 0.5:
                when_s = self.now_s + chance.expovariate(50)
            elif kind < 0.8 and aims_s:
                when_s = chance.choice(aims_s) - chance.expovariate(100)
            else:
                when_s = self.now_s + chance.uniform(0, 40)
            self.at(when_s, arrive)

    # A sentence, which wakes one to three speakers.

    def speak(self, sentence: int, true_s: float) -> None:
        chance = self.chance
        awake = chance.sample(self.speakers, chance.randint(1, SPEAKERS))
        end_s = true_s + chance.choice((0.6, chance.uniform(0.5, 4), 14.5))
        for speaker in awake:
            wake_s = true_s + chance.choice((0.0, chance.uniform(0, 0.5), 0.5))
            # A noisy room keeps one speaker's endpoint open.
            own_end_s = wake_s + chance.choice((end_s - true_s, chance.uniform(0.5, 14.5)))
            self.at(wake_s, lambda s=speaker, e=own_end_s: self.wake(s, sentence, e))  # type: ignore[misc]  # mypy does not type such defaults
        if self.pauses_s is not None and chance.random() < 0.5:
            clock = chance.choice((self.clock, *(speaker.clock for speaker in self.speakers)))
            length_s = chance.uniform(*self.pauses_s)
            self.at(true_s + chance.uniform(0, 16), lambda: clock.pause(length_s))
        if chance.random() < 0.4:
            when_s = true_s + chance.uniform(0, 8)
            what = chance.choice((self.restart_assist, self.restart_send, self.restart_hear))
            self.at(when_s, what)

    def wake(self, speaker: Speaker, sentence: int, end_s: float) -> None:
        wake = Stamp.of(speaker.clock, self.now_s)
        wait_s = self.chance.choice((0.01, self.chance.uniform(0, 0.9)))
        if self.pauses_s is not None and self.chance.random() < 0.1:
            length_s = self.chance.uniform(*self.pauses_s)
            speaker.clock.pause(length_s)
            wait_s += length_s
        self.at(self.now_s + wait_s, lambda: self.sign_ask(speaker, sentence, wake, end_s))

    def sign_ask(self, speaker: Speaker, sentence: int, wake: Stamp, end_s: float) -> None:
        signed = Stamp.of(speaker.clock, self.now_s)
        ask = OpenAsk(next(self._asks), sentence, wake, signed)
        speaker.open = ask
        since_s = signed.boot_s - wake.boot_s
        if not 0 <= since_s <= timing.WAKE_TO_ASK_MS / 1000:
            return
        last_s = self.now_s - since_s + timing.ANSWER_S - timing.GROUP_WAIT_S
        self.carry(lambda: self.receive_ask(ask.ask, speaker, since_s), last_s)
        for part, before_s in ((1, 0.9), (2, 0.4), (3, 0.0)):
            if part == 3 or self.chance.random() < 0.3:
                self.at(end_s - before_s, lambda p=part: self.seal(speaker, ask, p))  # type: ignore[misc]  # as above

    def receive_answer(self, speaker: Speaker, ask: int, key: int) -> None:
        open_ask = speaker.open
        if (
            open_ask is not None
            and open_ask.ask == ask
            and open_ask.key is None
            and not open_ask.is_over
            and not open_ask.wake.is_broken(speaker.clock, self.now_s)
            and timing.is_answer_in_time(open_ask.wake.boot_s, speaker.clock.boot_s(self.now_s))
        ):
            open_ask.key = key

    def seal(self, speaker: Speaker, ask: OpenAsk, part: int) -> None:
        if speaker.open is not ask or ask.is_over:
            return
        ask.is_over = part == 3
        age_ms = int((speaker.clock.boot_s(self.now_s) - ask.signed.boot_s) * 1000)
        if ask.key is None or not 0 <= age_ms <= timing.LONGEST_AGE_MS:
            return
        if ask.wake.is_broken(speaker.clock, self.now_s):
            return
        copy = Copy(ask.ask, ask.key, ask.sentence, part, age_ms, self.now_s)
        written_s = speaker.clock.boot_s(self.now_s)
        run = speaker.send_starts
        wait_s = self.chance.choice((0.002, 0.002, self.chance.uniform(0, 12)))
        self.at(self.now_s + wait_s, lambda: self.publish(speaker, run, copy, written_s))

    def publish(self, speaker: Speaker, run: int, copy: Copy, written_s: float) -> None:
        if run != speaker.send_starts:
            return  # unlinked at the start of send
        if not timing.is_copy_fresh(written_s, speaker.clock.boot_s(self.now_s)):
            return
        kept = self.assist.asks.get(copy.ask)
        aims: tuple[float, ...] = ()
        if kept is not None and kept.answered is not None:
            last_boot_s = kept.answered.boot_s + copy.age_ms / 1000 + timing.ACT_S
            aims = (self.clock.true_s(last_boot_s - timing.DRIFT_S),)
        self.carry(lambda: self.receive_copy(copy), *aims)

    # Assist.

    def receive_ask(self, ask: int, speaker: Speaker, since_s: float) -> None:
        assist, now = self.assist, Stamp.of(self.clock, self.now_s)
        if ask in assist.seen or not timing.may_answer(assist.started_s, now.boot_s):
            return
        assist.seen.add(ask)
        if assist.winner is not None:
            name, arrived_s = assist.winner
            if now.boot_s - arrived_s <= timing.GROUP_S:
                if name != speaker.name:
                    return  # elsewhere
                assist.winner = (name, now.boot_s)
                assist.asks[ask] = KeptAsk(speaker.name, now)
                self.answer(assist, ask)
                return
        assist.asks[ask] = KeptAsk(speaker.name, Stamp(now.boot_s - since_s, now.wall_s))
        assist.asks[ask].arrived = now
        assist.waiting.append(ask)
        if len(assist.waiting) == 1:
            self.at(self.now_s + timing.GROUP_WAIT_S, lambda: self.choose(assist))

    def choose(self, assist: Assist) -> None:
        if assist is not self.assist:
            return
        chosen, assist.waiting = self.chance.choice(assist.waiting), []
        kept = assist.asks[chosen]
        # The group's time runs from the last of the asks, of which one was chosen.
        assist.winner = (kept.speaker, self.clock.boot_s(self.now_s))
        self.answer(assist, chosen)

    def answer(self, assist: Assist, ask: int) -> None:
        kept = assist.asks[ask]
        kept.answered = Stamp.of(self.clock, self.now_s)
        kept.key = key = next(self._keys)
        speaker = self.speakers[kept.speaker]
        aims: tuple[float, ...] = ()
        if speaker.open is not None:
            last_s = speaker.open.wake.boot_s + timing.ANSWER_S
            aims = (speaker.clock.true_s(last_s),)
        self.carry(lambda: self.receive_answer(speaker, ask, key), *aims)

    def receive_copy(self, copy: Copy) -> None:
        assist, now_s = self.assist, self.clock.boot_s(self.now_s)
        kept = assist.asks.get(copy.ask)
        if kept is None or kept.answered is None or copy.part <= kept.last_part:
            return
        if copy.key != kept.key:
            return  # sealed to a key of an earlier run, which is erased
        if not timing.is_age_possible(kept.arrived.boot_s, copy.age_ms, now_s):
            return
        if not timing.may_act(kept.answered.boot_s, copy.age_ms, now_s):
            return
        kept.last_part = copy.part
        work_s = self.chance.choice((0.02, 0.3, self.chance.uniform(0, 3)))
        self.at(self.now_s + work_s, lambda: self.act(assist, kept, copy))

    def act(self, assist: Assist, kept: KeptAsk, copy: Copy) -> None:
        if assist is not self.assist or copy.ask not in assist.asks or kept.answered is None:
            return
        now_s = self.clock.boot_s(self.now_s)
        if kept.answered.is_broken(self.clock, self.now_s):
            del assist.asks[copy.ask]
            return
        if not timing.is_key_alive(kept.answered.boot_s, now_s):
            return
        if not timing.may_act(kept.answered.boot_s, copy.age_ms, now_s):
            return
        del assist.asks[copy.ask]
        self.acts.append(Act(copy.ask, copy.sentence, self.now_s - copy.sealed_true_s))
        if self.chance.random() < 0.2:
            self.at(self.now_s + self.chance.expovariate(5), self.restart_assist)

    # Faults.

    def restart_assist(self) -> None:
        self.assist = Assist(self.clock.boot_s(self.now_s))

    def restart_send(self) -> None:
        self.chance.choice(self.speakers).send_starts += 1

    def restart_hear(self) -> None:
        self.chance.choice(self.speakers).open = None


def run_model(seed: int, sentences: int, pauses_s: tuple[float, float] | None = None) -> list[Act]:
    """Return the acts of sentences in households of their own, 20 sentences each."""
    acts: list[Act] = []
    for household in range(sentences // 20):
        model = Model(seed * 1_000_003 + household, pauses_s)
        for number in range(20):
            sentence = household * 20 + number
            # Far enough apart that each is a sentence of its own, near enough that they overlap.
            model.at(number * 20.0, lambda m=model, s=sentence: m.speak(s, m.now_s))  # type: ignore[misc]  # as above
        model.run()
        acts += [Act(one.ask + household * 1_000, one.sentence, one.late_s) for one in model.acts]
    return acts


def latest_s(acts: list[Act]) -> float:
    return max(act.late_s for act in acts)


def most_acts(acts: list[Act]) -> int:
    """Return the most acts for one sentence."""
    return max(Counter(act.sentence for act in acts).values())


def test_no_act_is_late_or_repeated_whatever_is_delayed() -> None:
    acts = run_model(13, SENTENCES)

    assert len(acts) > SENTENCES / 5, "the model acts often enough to show something"
    assert latest_s(acts) > LIMIT_S - 0.1, "and reaches the limit"
    assert latest_s(acts) <= LIMIT_S
    assert min(act.late_s for act in acts) >= 0
    assert max(Counter(act.ask for act in acts).values()) == 1
    assert most_acts(acts) == 1


def test_limits_that_are_too_wide_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model fails where a rule is wrong: otherwise it would show nothing."""
    few = SENTENCES // 3

    with monkeypatch.context() as change:
        change.setattr(timing, "ACT_S", timing.ACT_S + 0.5)
        assert latest_s(run_model(13, few)) > LIMIT_S
    with monkeypatch.context() as change:
        change.setattr(timing, "ANSWER_S", timing.ANSWER_S + 0.5)
        assert latest_s(run_model(13, few)) > LIMIT_S
    with monkeypatch.context() as change:
        change.setattr(timing, "GROUP_S", 1.0)
        assert most_acts(run_model(13, few)) > 1


def test_assist_that_answers_at_once_after_a_restart_acts_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert most_acts(run_model(7, SENTENCES)) == 1
    monkeypatch.setattr(timing, "may_answer", lambda *_: True)

    assert most_acts(run_model(7, SENTENCES)) > 1


def test_machine_that_was_paused_drops_its_asks() -> None:
    """A pause of over a second shows in the clocks; a shorter one delays by itself, each machine's
    once."""
    acts = run_model(3, SENTENCES // 2, (timing.CLOCK_STEP_S + 0.01, 15.0))

    assert len(acts) > SENTENCES / 20
    assert latest_s(acts) <= LIMIT_S
    assert most_acts(acts) == 1

    acts = run_model(3, SENTENCES // 2, (0.0, timing.CLOCK_STEP_S))
    assert latest_s(acts) <= LIMIT_S + 2 * timing.CLOCK_STEP_S
    assert max(Counter(act.ask for act in acts).values()) == 1


def test_pause_that_no_clock_shows_is_noticed_by_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "clock_moved", lambda *_: False)

    assert latest_s(run_model(3, SENTENCES // 2, (1.01, 15.0))) > LIMIT_S
