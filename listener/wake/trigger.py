"""When a score is a wake: level and refractory.

A wake is the first step whose score is at or above the threshold, and has been for the patience,
at least one refractory after the last wake. The steps that qualify at a higher threshold are some
of those that qualify at a lower one, and taking the first of each stretch is the most that fit a
refractory apart: so wakes never become more when the threshold rises, and scores can be computed
once and judged at every threshold afterwards. ``docs/decisions/0005`` tells the reasons.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes a wake, and what nearly makes one."""

    threshold: float
    """Score from which a step counts, 0 to 1."""
    patience_steps: int = 1
    """Steps in a row that must count."""
    refractory_samples: int = 0
    """After a wake, nothing wakes for this long."""
    near_miss_threshold: float = 1.0
    """Score from which a run of steps that never wakes is a near miss, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Wake:
    """The word was heard."""

    word: str
    score: float
    end_sample: int
    """Where the step ends that made it a wake."""
    threshold: float


@dataclass(frozen=True, slots=True)
class NearMiss:
    """Something sounded a little like the word. Known when the run of scores has ended."""

    word: str
    score: float
    """The highest of the run."""
    end_sample: int
    """Where the step with that score ends."""


class Trigger:
    """Judge the scores of one word, in order. Not safe for use by several threads."""

    def __init__(self, word: str, rule: Rule) -> None:
        self._word = word
        self._rule = rule
        # A run that could wake is never ended by a step that does.
        self._run_from = min(rule.near_miss_threshold, rule.threshold)
        self.restart()

    def restart(self) -> None:
        """Forget everything."""
        self._counting_steps = 0
        self._last_wake: int | None = None
        self._in_run = self._run_woke = False
        self._peak = 0.0
        self._peak_sample = 0

    def push(self, score: float, end_sample: int) -> Wake | NearMiss | None:
        """Judge one step.

        Args:
            score: 0 to 1.
            end_sample: where the step ends; rises from step to step.
        """
        if score < self._run_from:
            if not self._in_run:
                return None
            self._in_run = False
            self._counting_steps = 0
            return self._near_miss()
        if not self._in_run:
            self._in_run, self._run_woke, self._peak = True, False, -1.0
        if score > self._peak:
            self._peak, self._peak_sample = score, end_sample
        return self._wake(score, end_sample)

    def _wake(self, score: float, end_sample: int) -> Wake | None:
        rule = self._rule
        if score < rule.threshold:
            self._counting_steps = 0
            return None
        self._counting_steps += 1
        if self._counting_steps < rule.patience_steps or self._is_refractory(end_sample):
            return None
        self._last_wake = end_sample
        self._run_woke = True
        return Wake(self._word, score, end_sample, rule.threshold)

    def _near_miss(self) -> NearMiss | None:
        if self._run_woke or self._is_refractory(self._peak_sample):
            return None
        return NearMiss(self._word, self._peak, self._peak_sample)

    def _is_refractory(self, sample: int) -> bool:
        last = self._last_wake
        return last is not None and sample - last < self._rule.refractory_samples
