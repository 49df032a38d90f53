"""What the numbers mean, and what a reader must know before quoting one: in words. Pure."""

from collections.abc import Sequence

from listener.evaluate.plan import EvaluationPlan
from listener.evaluate.rates.events import EventKind
from listener.evaluate.rates.intervals import CONFIDENCE, FEWEST_GROUPS
from listener.evaluate.rates.result import SkippedItem, WordResult


def list_definitions(plan: EvaluationPlan) -> dict[str, str]:
    """Say what a hit, a false wake, an hour and each interval are under this plan."""
    level = f"{CONFIDENCE:.0%}"
    return {
        "wake": "the first step at or above the threshold, for the patience, at least one"
        " refractory after the last wake",
        "hit": "a wake whose step ends after the labelled word begins, and at most"
        f" {plan.hit_tail_s:g} s after it ends; one for each word, the earliest; where nobody"
        " noted when the word is said, anywhere in its item",
        "miss": "a labelled word without a hit",
        "false wake": "every wake that is no hit",
        "near miss": "a run of scores that did not wake, outside every window",
        "hour": "an hour of sound outside the windows of labelled words, each item counted once"
        " however often it is played",
        "latency": "from the end of the word to the end of the step that woke",
        "activation": "how long scores stayed at or above the threshold around a wake",
        "repeatability": "in how many plays, each from another phase of a step, a word or a false"
        " wake fired",
        "miss rate": f"misses per labelled word, mean over plays, with Wilson's {level} interval",
        "false wakes per hour": "mean over plays, with the exact Poisson"
        f" {level} interval (Garwood)",
        "by speaker, by recording": f"the same rates with a {level} bootstrap over whole speakers"
        f" or recordings, from {FEWEST_GROUPS} of them on: wider where events cluster",
        "claim": f"fewer than so many false wakes per hour: carried where the one-sided {level}"
        " bound lies below",
        "comparison": "first play of each; misses by McNemar's exact test, false wakes that only"
        " one of the two has by the binomial test",
    }


def list_cautions(words: Sequence[WordResult], missing: Sequence[SkippedItem]) -> tuple[str, ...]:
    """Say what a reader must know before quoting a number."""
    found: list[str] = []
    if missing:
        things = "thing is" if len(missing) == 1 else "things are"
        found.append(f"{len(missing)} {things} missing from these figures: see the list")
    for word in words:
        name = f"{word.engine}, {word.word}, {word.condition}"
        if word.hours <= 0:
            found.append(f"{name}: no sound without the word, so nothing is known of false wakes")
        if not word.words_said:
            found.append(f"{name}: the word is never said, so nothing is known of misses")
        if word.target is not None:
            found.append(
                f"{name}: the threshold was chosen on these very sounds; confirm it on others"
            )
            if not word.target.carried:
                found.append(_uncarried(name, word))
        if word.clipped_samples:
            found.append(f"{name}: mixing drove {word.clipped_samples} samples beyond int16")
        spoken = sum(
            event.kind is EventKind.FALSE_WAKE
            and word.said.replace("-", " ").casefold() in (event.transcript or "").casefold()
            for event in word.events
        )
        if spoken:
            found.append(
                f"{name}: the transcript around {spoken} of its false wakes holds the word itself"
            )
    return tuple(found)


def _uncarried(name: str, word: WordResult) -> str:
    target = word.target
    if target is None or target.threshold is None or target.still_needed_h is None:
        return f"{name}: no threshold brings so few false wakes on these sounds"
    return (
        f"{name}: {word.hours:.2f} h cannot carry a claim of fewer than {target.per_hour:g} false"
        f" wakes per hour; {target.still_needed_h:.1f} h more without a false wake would"
    )
