"""Evaluation plan: engines, corpora and conditions. Pure: text to ``EvaluationPlan``.

A plan is given by the options of ``earmark evaluate`` or in a TOML file.
"""

import difflib
import tomllib
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from listener.config import PathText, Probability, Settings, ShortName
from listener.errors import ConfigError

_HINT: Final = "see the keys in docs/research/index.md"

PerHour = Annotated[float, Meta(gt=0, le=100_000)]
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]{1,80}\Z")]


class EngineSettings(Settings, frozen=True, kw_only=True):
    """An engine with its models and its trigger rule."""

    name: Name = ""
    """Name in the results; the kind and the words by default: ``earmark: alexa``."""
    kind: ShortName = "earmark"
    """``earmark``, ``openwakeword``, ``microwakeword`` or ``command``."""
    words: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("alexa",)
    """Names of the models, as in ``earmark models list``."""
    command: tuple[str, ...] = ()
    """Program and arguments, for the kind ``command``."""
    said: dict[Name, Name] = msgspec.field(default_factory=dict)
    """Label of a model's word, where it differs from the model's name."""
    thresholds: dict[Name, Probability] = msgspec.field(default_factory=dict)
    """Threshold of each model; the default is that of its manifest."""
    patience_frames: Annotated[int, Meta(ge=1, le=25)] | None = None
    """Successive frames at or above the threshold, for every word; by default the model's, or 1."""
    patience: dict[Name, Annotated[int, Meta(ge=1, le=25)]] = msgspec.field(default_factory=dict)
    """The same for each model, where ``patience_frames`` says nothing."""
    refractory_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """Minimum time between wakes."""
    near_miss_threshold: Probability = 0.2
    """Lowest peak of a near miss."""
    hop_ms: Annotated[int, Meta(ge=40, le=80, multiple_of=40)] = 80
    """Time between scores: 80 or 40."""
    stepwise: bool = False
    """Run the device's detector step by step: equal scores within 1e-4, at half the speed."""
    second_opinion: bool = True
    """Ask the second network of a word whose model names one. For the kind ``earmark``."""
    first_stage: bool = False
    """Score only the steps that a device with ``wake.first_stage`` computes; the others have the
    score 0. For the kind ``earmark``."""


class CorpusSettings(Settings, frozen=True, kw_only=True):
    """A corpus."""

    path: PathText
    """A folder, a manifest, or a collection in a known layout."""
    word: Name | None = None
    """Label of items that have none; absent: they contain no wake word."""
    without: Name | None = None
    """Leave out items whose transcript contains this text, in any case."""


class ConditionSettings(Settings, frozen=True, kw_only=True):
    """The augmentation that items are played with."""

    name: Name = ""
    """Name in the results; built from the other fields by default."""
    noise: PathText | None = None
    """A noise file, or a folder of them, one of which is chosen for each item."""
    noise_files: Name | None = None
    """Shell pattern that the path of a noise file below the folder must match; absent: all."""
    snr_db: Annotated[float, Meta(ge=-40, le=80)] | None = None
    """Ratio of the active speech level to the noise."""
    room: PathText | None = None
    """An impulse response, or a folder of them, one of which is chosen for each item."""
    speech_dbov: Annotated[float, Meta(ge=-90, le=0)] | None = None
    """Active speech level that each item is scaled to; absent: unchanged."""


class EvaluationPlan(Settings, frozen=True, kw_only=True):
    """Engines, corpora and conditions of an evaluation."""

    engine: Annotated[tuple[EngineSettings, ...], Meta(min_length=1)] = (EngineSettings(),)
    corpus: tuple[CorpusSettings, ...] = ()
    condition: Annotated[tuple[ConditionSettings, ...], Meta(min_length=1)] = (ConditionSettings(),)
    only: tuple[str, ...] = ()
    """Shell patterns, one of which an item's name must match; empty: all items."""
    channel: Annotated[int, Meta(ge=0, le=63)] = 0
    """Index of the channel of a file."""
    plays: Annotated[int, Meta(ge=1, le=1280)] = 1
    """Plays of each item, each from another phase of a step."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
    """Seed of the choices of noise and room, of the order of a stream, and of the bootstrap."""
    stream: bool = False
    """Play all items as one stream, so that none starts fresh."""
    stream_pause_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """Silence between two items of a stream."""
    hit_tail_s: Annotated[float, Meta(ge=0, le=10)] = 0.5
    """Time after the end of a word in which a wake is still a hit."""
    claims_per_hour: tuple[PerHour, ...] = (1.0, 0.5, 0.1)
    """Claims of fewer false wakes per hour to check."""
    priors: tuple[Probability, ...] = (0.0001,)
    """Priors of the detection cost: probabilities that a second contains the word."""
    cost_miss: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    """Cost of a miss."""
    cost_false_wake: Annotated[float, Meta(gt=0, le=1_000_000)] = 0.1
    """Cost of a false wake."""
    target_false_wakes_per_hour: PerHour | None = None
    """Rate for which the threshold of each word is chosen."""


def parse(text: str, source: str) -> EvaluationPlan:
    """Parse a plan.

    Args:
        text: TOML.
        source: file name for error messages.

    Raises:
        ConfigError: not TOML, an unknown key, a value out of range, or contradictory parts. No
            other exception is raised for any text.
    """
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    try:
        plan = msgspec.convert(raw, EvaluationPlan)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ConfigError(f"{source}: {error}", _hint(raw)) from error
    return complete_plan(plan, source)


def complete_plan(plan: EvaluationPlan, source: str) -> EvaluationPlan:
    """Fill in missing names, and check that the parts are consistent.

    Raises:
        ConfigError: two engines or conditions have one name, only one of noise and snr_db is
            given, or an option names a word that the engine does not have.
    """
    engines = tuple(
        msgspec.structs.replace(engine, name=engine.name or _engine_name(engine))
        for engine in plan.engine
    )
    conditions = tuple(
        msgspec.structs.replace(each, name=each.name or _condition_name(each))
        for each in plan.condition
    )
    for what, names in (
        ("engines", [engine.name for engine in engines]),
        ("conditions", [condition.name for condition in conditions]),
    ):
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ConfigError(
                f"{source}: two {what} have the name {duplicates[0]!r}", "set name in each of them"
            )
    for condition in conditions:
        if (condition.noise is None) != (condition.snr_db is None):
            raise ConfigError(f"{source}: {condition.name} needs both noise and snr_db")
    for engine in engines:
        unknown = sorted({*engine.thresholds, *engine.said} - set(engine.words))
        if unknown:
            raise ConfigError(f"{source}: {engine.name} has no word {unknown[0]!r}")
    return msgspec.structs.replace(plan, engine=engines, condition=conditions)


def to_builtins(plan: EvaluationPlan) -> dict[str, Any]:
    """Return the plan as tables and lists, with all defaults."""
    tables: dict[str, Any] = msgspec.to_builtins(plan)
    return tables


def _engine_name(engine: EngineSettings) -> str:
    return f"{engine.kind}: {', '.join(engine.words)}"


def _condition_name(condition: ConditionSettings) -> str:
    parts = []
    if condition.snr_db is not None:
        parts.append(f"{condition.snr_db:g} dB")
    if condition.noise is not None:
        parts.append(_last(condition.noise))
    if condition.room is not None:
        parts.append(f"in {_last(condition.room)}")
    if condition.speech_dbov is not None:
        parts.append(f"at {condition.speech_dbov:g} dBov")
    return " ".join(parts) or "clean"


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _hint(raw: dict[str, Any]) -> str:
    for key in raw:
        if key not in EvaluationPlan.__struct_fields__:
            near = difflib.get_close_matches(key, EvaluationPlan.__struct_fields__, n=1)
            return f"did you mean {near[0]}?" if near else _HINT
    return _HINT
