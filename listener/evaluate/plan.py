"""Evaluation plan: engines, settings, sounds and conditions. Pure: text to ``EvaluationPlan``.

The same plan can be said on the command line, or kept in one TOML file beside the results.
"""

import difflib
import tomllib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from listener.config import PathText, Probability, Settings, ShortName
from listener.errors import ConfigError

PerHour = Annotated[float, Meta(gt=0, le=100_000)]
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]{1,80}\Z")]


class EngineSettings(Settings, frozen=True, kw_only=True):
    """One engine with its models and its rule."""

    name: Name = ""
    """What results call it; the words by default."""
    kind: ShortName = "earmark"
    """Our own models, or one of the engines of others."""
    words: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("alexa",)
    """The models, by their name in ``earmark models list``."""
    command: tuple[str, ...] = ()
    """What is started, for the kind ``command``."""
    said: dict[Name, Name] = msgspec.field(default_factory=dict)
    """What labels call the word of a model, where that is not the model's name."""
    thresholds: dict[Name, Probability] = msgspec.field(default_factory=dict)
    """Score from which a model wakes; the default is its manifest's."""
    patience_frames: Annotated[int, Meta(ge=1, le=25)] = 1
    """Frames in a row at or above the threshold."""
    refractory_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """After a wake, nothing wakes for this long."""
    near_miss_threshold: Probability = 0.2
    """A peak from here to the threshold is a near miss."""
    hop_ms: Annotated[int, Meta(ge=40, le=80, multiple_of=40)] = 80
    """Time between scores: 80 or 40."""
    stepwise: bool = False
    """Drive the device's detector step by step: the same scores within 1e-4, half as fast."""


class CorpusSettings(Settings, frozen=True, kw_only=True):
    """Where sounds are."""

    path: PathText
    """A folder, a manifest, or a collection in a layout that is known."""
    word: Name | None = None
    """What is said in each item that does not say itself; none: nothing."""


class ConditionSettings(Settings, frozen=True, kw_only=True):
    """Under which sound items are played."""

    name: Name = ""
    """What results call it; made of what follows by default."""
    noise: PathText | None = None
    """A noise, or a folder of them: each item gets one."""
    snr_db: Annotated[float, Meta(ge=-40, le=80)] | None = None
    """Active speech level over the noise."""
    room: PathText | None = None
    """An impulse response, or a folder of them: each item gets one."""
    speech_dbov: Annotated[float, Meta(ge=-90, le=0)] | None = None
    """Active speech level that each item is brought to; none: as loud as it is."""


class EvaluationPlan(Settings, frozen=True, kw_only=True):
    """All of it."""

    engine: Annotated[tuple[EngineSettings, ...], Meta(min_length=1)] = (EngineSettings(),)
    corpus: tuple[CorpusSettings, ...] = ()
    condition: Annotated[tuple[ConditionSettings, ...], Meta(min_length=1)] = (ConditionSettings(),)
    only: tuple[str, ...] = ()
    """Patterns as of the shell, one of which an item's name must match; none: all."""
    channel: Annotated[int, Meta(ge=0, le=63)] = 0
    """Which channel of a file is heard."""
    plays: Annotated[int, Meta(ge=1, le=1280)] = 1
    """How often each item is played, each time from another phase of a step."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
    """Of every choice of noise, room and resample."""
    hit_tail_s: Annotated[float, Meta(ge=0, le=10)] = 0.5
    """How long after its end a word may still be heard."""
    claims_per_hour: tuple[PerHour, ...] = (1.0, 0.5, 0.1)
    """Claims of fewer false wakes per hour that the hours are held against."""
    target_false_wakes_per_hour: PerHour | None = None
    """Choose each word's threshold for this rate."""


def parse(text: str, source: str) -> EvaluationPlan:
    """Read a plan.

    Args:
        text: TOML.
        source: where it came from, for messages.

    Raises:
        ConfigError: not TOML, an unknown key, a value out of its range, or parts that contradict
            each other. Nothing else, whatever the text.
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
    """Fill in the names that were left out, and see that the parts fit.

    Raises:
        ConfigError: two engines or conditions have one name, or noise lacks its level.
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
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"{source}: two {what} are called {twice[0]!r}", "give them names")
    for condition in conditions:
        if (condition.noise is None) != (condition.snr_db is None):
            raise ConfigError(f"{source}: {condition.name} needs both noise and snr_db")
    for engine in engines:
        unknown = sorted({*engine.thresholds, *engine.said} - set(engine.words))
        if unknown:
            raise ConfigError(f"{source}: {engine.name} has no word {unknown[0]!r}")
    return msgspec.structs.replace(plan, engine=engines, condition=conditions)


def to_builtins(plan: EvaluationPlan) -> dict[str, Any]:
    """Return the plan as tables and lists, every default filled in."""
    found: dict[str, Any] = msgspec.to_builtins(plan)
    return found


def _engine_name(engine: EngineSettings) -> str:
    words = ", ".join(engine.words)
    return words if engine.kind == "earmark" else f"{engine.kind}: {words}"


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
            return f"did you mean {near[0]}?" if near else "docs/research/index.md lists every key"
    return "docs/research/index.md lists every key"
