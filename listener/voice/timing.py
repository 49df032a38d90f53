"""Rules of time of voice control, on three clocks that share no time. Pure.

Each rule compares times of one clock only: CLOCK_BOOTTIME of the machine that applies it, in
seconds, which counts while the machine sleeps. ``age_ms`` is a duration on the sender's clock.

Let a speaker's wake be at w, its ask at a, assist's answer at b, the sealing at s and the act at x.
The answer is never earlier than the ask (a <= b), and hear uses it at most ANSWER_S after the wake
(b <= w + ANSWER_S <= a + ANSWER_S). Assist acts while (x - b) - (s - a) <= ACT_S. So

    x - s = (x - b) - (s - a) + (b - a) <= ACT_S + ANSWER_S = 10 s,

however long any message was delayed, and by whomever. DRIFT_S covers clocks that run up to 200 ppm
too fast or too slow during an ask.
"""

from typing import Final

WAKE_TO_ASK_MS: Final = 1_000
"""Longest time from a wake to the signing of its ask."""
ANSWER_S: Final = 3.0
"""Time from the wake in which hear uses an answer; expiry of an ask at the broker."""
ACT_S: Final = 7.0
"""Time since the answer, less the copy's age, in which assist acts."""
DRIFT_S: Final = 0.02
"""Part of ACT_S that clocks may gain or lose: 25 s at twice 200 ppm are 0.01 s."""
LIFE_S: Final = 25.0
"""Life of a command key after the answer, at most."""
COPY_S: Final = 10.0
"""Life of a command copy outside hear: send unlinks an older one; expiry at the broker. From the
sealing to the act never more time than this passes."""
LONGEST_AGE_MS: Final = 15_000
"""Longest time from the ask to the sealing of a command copy."""
OUTCOME_S: Final = 15.0
"""Time from the sealing in which hear accepts an outcome; then it is not known."""

REPLY_S: Final = 10.0
"""Time from the sealing of a reply to the start of its sound, at most; expiry at the broker."""
LONGEST_REPLY_AGE_MS: Final = 30_000
"""Longest time from the answer to the sealing of a reply."""

GROUP_WAIT_S: Final = 0.25
"""Time from the first ask of a group of speakers to assist's choice."""
WAKE_SPREAD_S: Final = 0.5
"""Longest time between the wakes of two speakers at one word."""
GROUP_S: Final = ANSWER_S + WAKE_SPREAD_S + DRIFT_S
"""Time from the arrival of the winner's ask in which each other speaker of the group is told
``elsewhere``, and time from its start in which assist answers no ask: an ask of the same word that
arrives later is answered too late for its speaker."""
PART_INTERVAL_S: Final = 0.5
"""Least time between two parts of one command."""
POKE_INTERVAL_S: Final = 5.0
"""Least time between two asks that pokes caused."""
CLOCK_STEP_S: Final = 1.0
"""Difference between the wall clock and CLOCK_BOOTTIME from which an ask is dropped."""


def is_answer_in_time(wake_s: float, now_s: float) -> bool:
    """Return whether hear may use an answer that it has now.

    Args:
        wake_s: time of the wake, on the speaker's clock.
        now_s: now, on the speaker's clock.
    """
    return 0 <= now_s - wake_s <= ANSWER_S


def may_answer(started_s: float, now_s: float) -> bool:
    """Return whether assist has run long enough to answer an ask with ``speak``.

    Before its restart it may have chosen another speaker for the same word, and have acted.

    Args:
        started_s: start of this run of assist, on its clock.
        now_s: now, on assist's clock.
    """
    return now_s - started_s > GROUP_S


def may_act(answered_s: float, age_ms: int, now_s: float) -> bool:
    """Return whether assist may act on a command copy now.

    To be called at the start of the call that acts, and not only when the copy arrives.

    Args:
        answered_s: time of the answer, on assist's clock.
        age_ms: age of the copy in its header.
        now_s: now, on assist's clock.
    """
    since_s = now_s - answered_s
    return 0 <= since_s <= LIFE_S and since_s - age_ms / 1000 <= ACT_S - DRIFT_S


def is_age_possible(asked_s: float, age_ms: int, now_s: float) -> bool:
    """Return whether a copy can be as old as it says.

    An ask is at most ANSWER_S older than its arrival, or its answer would not have been used.

    Args:
        asked_s: arrival of the ask, on assist's clock.
        age_ms: age of the copy in its header.
        now_s: now, on assist's clock.
    """
    return 0 <= age_ms <= LONGEST_AGE_MS and age_ms / 1000 <= now_s - asked_s + ANSWER_S


def is_key_alive(answered_s: float, now_s: float) -> bool:
    """Return whether assist still keeps the command key of an ask."""
    return 0 <= now_s - answered_s <= LIFE_S


def is_copy_fresh(written_s: float, now_s: float) -> bool:
    """Return whether send may publish a command copy that was written at ``written_s``."""
    return 0 <= now_s - written_s <= COPY_S


def is_outcome_awaited(sealed_s: float, now_s: float) -> bool:
    """Return whether hear still accepts the outcome of a copy that was sealed at ``sealed_s``."""
    return 0 <= now_s - sealed_s <= OUTCOME_S


def may_play(asked_s: float, age_ms: int, now_s: float) -> bool:
    """Return whether the player may start a reply now.

    The answer is never earlier than the ask, so the reply is at most REPLY_S old.

    Args:
        asked_s: time at which the ask with this reply key was signed, on the speaker's clock.
        age_ms: age of the reply in its header, from the answer to its sealing.
        now_s: now, on the speaker's clock.
    """
    since_s = now_s - asked_s
    return since_s >= 0 and since_s - age_ms / 1000 <= REPLY_S - DRIFT_S


def clock_moved(
    boot_before_s: float, wall_before_s: float, boot_now_s: float, wall_now_s: float
) -> bool:
    """Return whether the wall clock and CLOCK_BOOTTIME disagree about the time that has passed.

    A machine that was paused or put back to a snapshot notices it by this, and the first setting
    of a speaker's clock shows in the same way; the ask is dropped.

    Args:
        boot_before_s: CLOCK_BOOTTIME before, in seconds.
        wall_before_s: CLOCK_REALTIME at the same moment.
        boot_now_s: CLOCK_BOOTTIME now.
        wall_now_s: CLOCK_REALTIME now.
    """
    passed_s = boot_now_s - boot_before_s
    return passed_s < 0 or abs((wall_now_s - wall_before_s) - passed_s) > CLOCK_STEP_S
