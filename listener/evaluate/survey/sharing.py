"""Surveys of several homes, joined into one rate. Pure.

A home publishes what is needed for a rate and no more: for each word its model, its threshold, the
hours and the number of false wakes. No time, no name and no score is in it. A home is counted once:
it is identified by a digest of its traces.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.config import Probability, ShortName
from listener.digests import sha256
from listener.errors import ConfigError, UsageError
from listener.evaluate.metrics import intervals
from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import Result
from listener.evaluate.survey.metrics import ENGINE
from listener.quantities import quantity
from listener.wakeword.trace import Hash

SHARED_FORMAT: Final = "earmark-shared-survey/1"
_MOST_HOURS: Final = 1e9
_FEWEST_HOURS: Final = 1e-3
_HINT: Final = "pass the result.json of a survey, or what earmark evaluate merge --out wrote"


class _SharedTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a shared survey."""


class HomeCount(_SharedTable, frozen=True, kw_only=True):
    """What one home contributes to a rate."""

    home: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    """Digest of the home's traces."""
    hours: Annotated[float, Meta(gt=0, le=_MOST_HOURS)]
    false_wakes: Annotated[int, Meta(ge=0, le=1_000_000_000)]


class SharedWord(_SharedTable, frozen=True, kw_only=True):
    """One wake word of one model at one threshold."""

    word: ShortName
    model: Hash
    """SHA-256 of the model's file."""
    second_opinion: Hash | None = None
    """SHA-256 of the second network's file; None if there was none."""
    threshold: Probability
    homes: Annotated[tuple[HomeCount, ...], Meta(min_length=1, max_length=100_000)]

    @property
    def false_wakes(self) -> Rate:
        """False wakes per hour of all homes, with the exact Poisson interval."""
        hours = sum(home.hours for home in self.homes)
        return intervals.poisson(sum(home.false_wakes for home in self.homes), hours)

    def between_homes(self, seed: int = 1) -> Rate | None:
        """Return the rate with the bootstrap over homes; None if they are too few or all alike."""
        return intervals.bootstrap(
            [home.false_wakes for home in self.homes],
            [home.hours for home in self.homes],
            intervals.PER_HOUR,
            seed=seed,
        )


class SharedSurvey(_SharedTable, frozen=True, kw_only=True):
    """Surveys of one or several homes."""

    format: str = SHARED_FORMAT
    words: Annotated[tuple[SharedWord, ...], Meta(max_length=10_000)]


class _Format(msgspec.Struct):
    format: str = ""


def is_shared(data: bytes) -> bool:
    """Return whether bytes claim to be a shared survey."""
    try:
        return msgspec.json.decode(data, type=_Format).format == SHARED_FORMAT
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def decode_shared(data: bytes, source: str) -> SharedSurvey:
    """Decode a shared survey.

    Args:
        data: any bytes are safe.
        source: name of the file for errors.

    Raises:
        ConfigError: the bytes are not a shared survey. Nothing else is raised.
    """
    try:
        shared = msgspec.json.decode(data, type=SharedSurvey)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{source} is not a shared survey: {error}", _HINT) from error
    if shared.format != SHARED_FORMAT:
        raise ConfigError(f"{source} has the format {shared.format!r}, not {SHARED_FORMAT!r}")
    return shared


def share(result: Result, source: str) -> SharedSurvey:
    """Return what a home publishes of its survey.

    Args:
        result: of ``earmark evaluate --trace``.
        source: name of its file for errors.

    Raises:
        UsageError: it is the result of recordings, or has no audio.
    """
    traces = sorted(value for name, value in result.hashes.items() if name.startswith("trace "))
    words = [word for word in result.words if word.engine == ENGINE]
    if not traces or not words:
        raise UsageError(f"{source} is not the result of a survey", _HINT)
    home = sha256("\n".join(traces).encode()).hex()[:16]
    shared = [
        SharedWord(
            word=word.word,
            model=result.hashes[f"model {word.word}"],
            second_opinion=result.hashes.get(f"second opinion {word.word}"),
            threshold=word.threshold,
            homes=(
                HomeCount(
                    home=home,
                    hours=round(word.false_wakes.exposure, 4),
                    false_wakes=round(word.false_wakes.count),
                ),
            ),
        )
        for word in words
        if word.false_wakes.exposure >= _FEWEST_HOURS
    ]
    if not shared:
        raise UsageError(f"{source} has no hour of audio", "survey for longer")
    return SharedSurvey(words=tuple(shared))


def join(surveys: Iterable[SharedSurvey]) -> tuple[SharedSurvey, tuple[str, ...]]:
    """Join surveys: one entry for each word, model and threshold.

    Returns:
        The joined survey, and notes on homes that were left out.
    """
    rows: dict[tuple[str, str, str, float], dict[str, HomeCount]] = {}
    notes = []
    for survey in surveys:
        for word in survey.words:
            key = (word.word, word.model, word.second_opinion or "", word.threshold)
            homes = rows.setdefault(key, {})
            for home in word.homes:
                if home.home not in homes:
                    homes[home.home] = home
                elif homes[home.home] != home:
                    notes.append(
                        f"the home {home.home} has two different counts of {word.word}; the first"
                        " is counted"
                    )
                else:
                    notes.append(f"the home {home.home} is counted once for {word.word}")
    words = tuple(
        SharedWord(
            word=name,
            model=model,
            second_opinion=second or None,
            threshold=threshold,
            homes=tuple(homes[home] for home in sorted(homes)),
        )
        for (name, model, second, threshold), homes in sorted(rows.items())
    )
    return SharedSurvey(words=words), tuple(notes)


def describe(words: Sequence[SharedWord]) -> list[str]:
    """Return lines for people: the rate of each word with its intervals."""
    lines = []
    for word in words:
        rate = word.false_wakes
        lines.append(
            f"{word.word} at {word.threshold:g} (model {word.model[:12]}):"
            f" {quantity(len(word.homes), 'home')}, {rate.exposure:.1f} h,"
            f" {quantity(round(rate.count), 'false wake')}:"
            f" {rate.value:.3f} per hour ({rate.low:.3f} to {rate.high:.3f})"
        )
        if (between := word.between_homes()) is not None:
            lines.append(
                f"  from home to home: {between.low:.3f} to {between.high:.3f} per hour (bootstrap"
                " over homes)"
            )
    return lines
