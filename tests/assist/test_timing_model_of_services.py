"""The model of ``tests/voice/test_timing_model.py`` with the classes that hear and assist run.

The open ask of each speaker, the table of asks and the arbitration are the real ones; clocks,
broker, send and restarts are the model's.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import Final

import pytest

from listener.assist.arbitration import Arbitration, Candidate, Decision
from listener.assist.asks import Asks, ClockPair, CopyRefused
from listener.hear.open_ask import CommandGrant, Instant, OpenAsk
from listener.voice import timing
from listener.voice.messages import Answer
from tests.voice.test_timing_model import Act, Clock, Model, latest_s, most_acts

SENTENCES: Final = 6_000


class NumberedKey:
    """A command key that is a number."""

    _numbers = count(1)

    def __init__(self) -> None:
        number = next(self._numbers)
        self.recipient = f"age1{number:058d}"
        self.fingerprint = self.recipient
        self.secret: object = number


@dataclass(slots=True)
class RealSpeaker:
    """One speaker, with the open ask of its hear."""

    name: str
    clock: Clock
    open: OpenAsk
    sentence: int = 0
    send_starts: int = 0


@dataclass(frozen=True, slots=True)
class RealCopy:
    """A sealed command copy in transport."""

    device: str
    grant: CommandGrant
    sentence: int
    age_ms: int
    sealed_true_s: float


@dataclass(slots=True)
class RealAssist:
    """What a run of assist has in memory."""

    started_s: float
    asks: Asks
    arbitration: Arbitration


class ServiceModel(Model):
    """A household whose rules are those of the services."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.homes = {
            f"room-{one.name}": RealSpeaker(
                f"room-{one.name}", one.clock, OpenAsk(f"room-{one.name}")
            )
            for one in self.speakers
        }
        self.run_of_assist = self.start_assist(self.clock.boot_s(-60))

    def start_assist(self, started_s: float) -> RealAssist:
        arbitration = Arbitration(lambda _: "home", lambda _: False)
        return RealAssist(started_s, Asks(NumberedKey, self.moment), arbitration)

    def moment(self) -> ClockPair:
        return ClockPair(self.clock.boot_s(self.now_s), self.clock.wall_s(self.now_s))

    def instant(self, speaker: RealSpeaker) -> Instant:
        return Instant(speaker.clock.boot_s(self.now_s), speaker.clock.wall_s(self.now_s))

    def speak(self, sentence: int, true_s: float) -> None:
        chance = self.chance
        awake = chance.sample(sorted(self.homes), chance.randint(1, len(self.homes)))
        length_s = chance.choice((0.6, chance.uniform(0.5, 4), 14.0))
        for name in awake:
            wake_s = true_s + chance.choice((0.0, chance.uniform(0, 0.5), 0.5))
            end_s = wake_s + chance.choice((length_s, chance.uniform(0.5, 14)))
            sign_s = wake_s + chance.choice((0.01, chance.uniform(0, 0.45)))
            speaker = self.homes[name]
            self.at(
                sign_s,
                lambda s=speaker, w=wake_s, e=end_s: self.begin(s, sentence, w, e),  # type: ignore[misc]  # mypy does not type such defaults
            )
        if chance.random() < 0.4:
            what = chance.choice((self.restart_assist, self.restart_send, self.restart_hear))
            self.at(true_s + chance.uniform(0, 8), what)

    def begin(self, speaker: RealSpeaker, sentence: int, wake_s: float, end_s: float) -> None:
        nonce = f"{next(self._asks):032x}"
        now = self.instant(speaker)
        woke = Instant(speaker.clock.boot_s(wake_s), speaker.clock.wall_s(wake_s))
        speaker.open.begin(nonce, woke, now)
        speaker.sentence = sentence
        since_ms = int((now.boot_s - woke.boot_s) * 1000)
        last_s = wake_s + timing.ANSWER_S - timing.GROUP_WAIT_S
        self.carry(lambda: self.take_ask(nonce, speaker, since_ms), last_s)
        self.at(end_s, lambda: self.end_clip(speaker, nonce))

    def take_ask(self, nonce: str, speaker: RealSpeaker, since_ms: int) -> None:
        run = self.run_of_assist
        arrived_s = self.moment().boot_s
        # As in the service, which a test of its own covers.
        if not timing.may_answer(run.started_s, arrived_s):
            return
        if run.asks.admit(nonce, speaker.name, None) != "open":
            return
        candidate = Candidate(nonce, speaker.name, arrived_s, since_ms, -30)
        self.decide(run, run.arbitration.add(candidate))
        self.at(self.now_s + timing.GROUP_WAIT_S + 0.001, lambda: self.turn(run))

    def turn(self, run: RealAssist) -> None:
        if run is self.run_of_assist:
            self.decide(run, run.arbitration.decide_due(self.moment().boot_s))

    def decide(self, run: RealAssist, decisions: list[Decision]) -> None:
        for one in decisions:
            key = run.asks.answer(one.nonce) if one.verdict == "speak" else None
            if one.verdict != "speak":
                run.asks.end(one.nonce)
            elif key is None:
                continue
            answer = Answer(ask=one.nonce, device=one.device, key=key, verdict=one.verdict)
            self.carry(lambda a=answer: self.take_answer(a), self.now_s + 2.7)  # type: ignore[misc]  # as above

    def take_answer(self, answer: Answer) -> None:
        speaker = self.homes[answer.device]
        speaker.open.take_answer(answer, lambda: True, self.instant(speaker))

    def end_clip(self, speaker: RealSpeaker, nonce: str) -> None:
        if speaker.open.ask != nonce:
            return
        now = self.instant(speaker)
        grant = speaker.open.grant(now)
        if not isinstance(grant, CommandGrant):
            return
        age_ms = int((now.boot_s - grant.asked.boot_s) * 1000)
        copy = RealCopy(speaker.name, grant, speaker.sentence, age_ms, self.now_s)
        speaker.open.lay(nonce, now)
        run, written_s = speaker.send_starts, now.boot_s
        wait_s = self.chance.choice((0.002, 0.002, self.chance.uniform(0, 12)))
        self.at(self.now_s + wait_s, lambda: self.send(speaker, run, copy, written_s))

    def send(self, speaker: RealSpeaker, run: int, copy: RealCopy, written_s: float) -> None:
        if run == speaker.send_starts and timing.is_copy_fresh(
            written_s, speaker.clock.boot_s(self.now_s)
        ):
            aims = [copy.sealed_true_s + late_s for late_s in (6.97, 8.5, 9.6, 9.96)]
            self.carry(lambda: self.take_copy(copy), *(one for one in aims if one > self.now_s))

    def take_copy(self, copy: RealCopy) -> None:
        run = self.run_of_assist
        try:
            run.asks.accept(copy.grant.ask, copy.device, copy.grant.key, 1, copy.age_ms)
            run.asks.take_key(copy.grant.ask, is_last=True)
        except CopyRefused:
            return
        work_s = self.chance.choice((0.001, 0.02, self.chance.uniform(0, 3)))
        self.at(self.now_s + work_s, lambda: self.carry_out(run, copy))

    def carry_out(self, run: RealAssist, copy: RealCopy) -> None:
        if run is not self.run_of_assist:
            return
        try:
            run.asks.begin_act(copy.grant.ask, copy.age_ms)
        except CopyRefused:
            return
        late_s = self.now_s - copy.sealed_true_s
        self.acts.append(Act(int(copy.grant.ask, 16), copy.sentence, late_s))
        if self.chance.random() < 0.2:
            self.at(self.now_s + self.chance.expovariate(5), self.restart_assist)

    def restart_assist(self) -> None:
        self.run_of_assist = self.start_assist(self.moment().boot_s)

    def restart_send(self) -> None:
        self.homes[self.chance.choice(sorted(self.homes))].send_starts += 1

    def restart_hear(self) -> None:
        speaker = self.homes[self.chance.choice(sorted(self.homes))]
        speaker.open = OpenAsk(speaker.name)


def run_services(seed: int, sentences: int) -> list[Act]:
    """Return the acts of sentences in households of their own, 20 sentences each."""
    acts: list[Act] = []
    for household in range(sentences // 20):
        model = ServiceModel(seed * 1_000_003 + household)
        for number in range(20):
            sentence = household * 20 + number
            model.at(number * 20.0, lambda m=model, s=sentence: m.speak(s, m.now_s))  # type: ignore[misc]  # as above
        model.run()
        acts += [Act(one.ask + household * 1_000, one.sentence, one.late_s) for one in model.acts]
    return acts


def test_services_act_once_and_in_time_whatever_is_delayed() -> None:
    acts = run_services(13, SENTENCES)

    assert len(acts) > SENTENCES / 8, "the model acts often enough to show something"
    assert 9.0 < latest_s(acts) <= 10.0
    assert min(act.late_s for act in acts) >= 0
    assert max(Counter(act.ask for act in acts).values()) == 1
    assert most_acts(acts) == 1


def test_services_that_answer_at_once_after_a_restart_act_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "may_answer", lambda *_: True)

    assert most_acts(run_services(7, 2 * SENTENCES)) > 1
