"""Choice among the speakers that woke at one word, before anything is sealed. Pure.

The first ask of a group of speakers opens a round of 250 ms. The earliest wake of the round wins,
then the loudest; the others are told that another speaker answers, and so is each other speaker of
the group whose ask arrives within 3.5 s after the winner's. A speaker takes no answer later than
3 s after its wake, and two speakers wake at one word within 0.5 s: an ask that is delayed by any
time cannot have one sentence carried out twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from listener.voice import timing


@dataclass(frozen=True, slots=True)
class Candidate:
    """Speaker that woke."""

    nonce: str
    """Nonce of its ask."""
    device: str
    arrived_s: float
    """Time of arrival, of a clock that only runs forward."""
    since_ms: int
    """Time from the wake to the signing of the ask, on the speaker's clock."""
    level_db: float
    """Level of the wake word, in dB of full scale."""

    @property
    def woke_s(self) -> float:
        """Time of the wake, if the ask was not delayed."""
        return self.arrived_s - self.since_ms / 1000


@dataclass(frozen=True, slots=True)
class Decision:
    """Verdict on an ask."""

    nonce: str
    device: str
    verdict: Literal["speak", "elsewhere"]


class Arbitration:
    """Rounds of all groups of speakers. For one thread.

    Args:
        group: returns the name of a device's group.
        is_alone: returns whether a device is the only one of its group; it is answered at once.
    """

    def __init__(self, group: Callable[[str], str], is_alone: Callable[[str], bool]) -> None:
        self._group = group
        self._is_alone = is_alone
        self._rounds: dict[str, list[Candidate]] = {}
        self._winners: dict[str, Candidate] = {}

    def group(self, device: str) -> str:
        """Return the name of a device's group."""
        return self._group(device)

    def add(self, candidate: Candidate) -> list[Decision]:
        """Take a candidate; return the decisions that can be made at once."""
        if self._is_alone(candidate.device):
            return [_decide(candidate, "speak")]
        group = self._group(candidate.device)
        decisions = self.decide_due(candidate.arrived_s)
        winner = self._winners.get(group)
        if winner is not None and candidate.arrived_s - winner.arrived_s <= timing.GROUP_S:
            if winner.device != candidate.device:
                return [*decisions, _decide(candidate, "elsewhere")]
            # Its next sentence: it keeps the group's attention, and the time starts anew.
            self._winners[group] = candidate
            return [*decisions, _decide(candidate, "speak")]
        self._rounds.setdefault(group, []).append(candidate)
        return decisions

    def decide_due(self, now_s: float) -> list[Decision]:
        """Return the decisions of the rounds that are over."""
        decisions = []
        for group, round_ in tuple(self._rounds.items()):
            if now_s - round_[0].arrived_s >= timing.GROUP_WAIT_S:
                del self._rounds[group]
                # The newest of a device: a wake ends the ask before.
                newest = {one.device: one for one in round_}
                winner = min(newest.values(), key=lambda one: (one.woke_s, -one.level_db))
                self._winners[group] = winner
                decisions += [
                    _decide(one, "speak" if one is winner else "elsewhere") for one in round_
                ]
        return decisions

    def next_due_s(self) -> float:
        """Return the time of the next decision, or infinity without an open round."""
        return min(
            (round_[0].arrived_s + timing.GROUP_WAIT_S for round_ in self._rounds.values()),
            default=float("inf"),
        )


def _decide(candidate: Candidate, verdict: Literal["speak", "elsewhere"]) -> Decision:
    return Decision(candidate.nonce, candidate.device, verdict)
