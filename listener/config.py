"""Every setting, with its unit, its range and its default. Pure: text in, ``Config`` out.

Seconds here, samples inside. The annotated example is ``docs/earmark.example.toml``.
"""

import difflib
import re
import tomllib
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from listener.errors import ConfigError

ShortName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
"""A pseudonym fit for topics and file names: 1 to 32 of a-z, 0-9 and the hyphen."""

Probability = Annotated[float, Meta(gt=0, lt=1)]

CLIP_LIMIT_S = 30.0
"""No setting makes a clip longer: the envelope's ciphertext is bounded at 1 MiB."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the configuration; unknown keys are refused."""


class DeviceSettings(Settings, frozen=True, kw_only=True):
    """This speaker."""

    name: ShortName = "speaker"
    """What topics and envelopes call it."""


class MicrophoneSettings(Settings, frozen=True, kw_only=True):
    """Where sound comes from."""

    files: tuple[str, ...] = ()
    """WAV, FLAC or Ogg files that stand in for a microphone, one after the other."""
    channel: Annotated[int, Meta(ge=0, le=63)] = 0
    """Which channel of a microphone array or a stereo file is heard."""


class WakeSettings(Settings, frozen=True, kw_only=True):
    """When a score is a wake."""

    words: Annotated[tuple[ShortName, ...], Meta(min_length=1)] = ("alexa",)
    """The models that listen, by their name in ``earmark models list``."""
    thresholds: dict[ShortName, Probability] = {}
    """Score from which a model wakes; the default is its manifest's."""
    patience_frames: Annotated[int, Meta(ge=1, le=25)] = 1
    """Frames in a row at or above the threshold."""
    refractory_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """After a wake, nothing wakes for this long."""
    near_miss_threshold: Probability = 0.2
    """A peak from here to the threshold is a near miss."""
    hop_ms: Literal[40, 80] = 80
    """Time between scores: 40 halves the wait at about half as much CPU again."""
    lazy: bool = True
    """In a quiet room compute only the features; the scores that matter stay the same."""


class ClipSettings(Settings, frozen=True, kw_only=True):
    """What is kept after a wake."""

    ring_s: Annotated[float, Meta(ge=1, le=5)] = 2.0
    """How long sound exists before it is overwritten."""
    pre_roll_s: Annotated[float, Meta(ge=0, le=5)] = 1.5
    """Sound before the wake that belongs to the clip; at most ``ring_s``."""
    post_roll_s: Annotated[float, Meta(ge=0, le=2)] = 0.3
    """Kept after the last speech."""
    silence_s: Annotated[float, Meta(ge=0.2, le=3)] = 0.8
    """Silence that ends the utterance."""
    no_speech_s: Annotated[float, Meta(ge=0.5, le=10)] = 3.0
    """Give up when nothing is said after the word for this long."""
    longest_s: Annotated[float, Meta(ge=1, le=CLIP_LIMIT_S)] = 10.0
    """Hard cap from the wake on."""
    speech_threshold: Probability = 0.5
    """Probability of speech from which a frame counts as speech."""
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """Written into the envelope; the archive drops the clip after it."""


class AttributionSettings(Settings, frozen=True, kw_only=True):
    """Whose clip it is."""

    mode: Literal["keeper"] = "keeper"
    """``keeper``: every clip belongs to the device's one keeper."""
    keeper: ShortName | None = None
    """The owner of this device, by her short name."""


class BrokerSettings(Settings, frozen=True, kw_only=True):
    """Where the MQTT broker is."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """``auto`` tries MQTT 5 and falls back to 3.1.1 where the broker knows no better."""
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 30
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    """With it, TLS is spoken and nothing else."""
    certificate_file: str | None = None
    key_file: str | None = None


class SpoolSettings(Settings, frozen=True, kw_only=True):
    """The queue between hear and send; the oldest is dropped, and counted, beyond any bound."""

    longest_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 64 << 20
    most_clips: Annotated[int, Meta(ge=1, le=100_000)] = 500
    oldest_s: Annotated[int, Meta(ge=60, le=365 * 86_400)] = 7 * 86_400
    retry_s: Annotated[float, Meta(ge=0.1, le=600)] = 5.0
    """How long send waits for the archive's acknowledgement before it publishes again."""


class Config(Settings, frozen=True, kw_only=True):
    """All of it."""

    home: str = ""
    """Folder of keys, roster, spool and archive; ``cli`` fills in the user's data folder."""
    device: DeviceSettings = DeviceSettings()
    microphone: MicrophoneSettings = MicrophoneSettings()
    wake: WakeSettings = WakeSettings()
    clip: ClipSettings = ClipSettings()
    attribution: AttributionSettings = AttributionSettings()
    broker: BrokerSettings = BrokerSettings()
    spool: SpoolSettings = SpoolSettings()


def parse(text: str, source: str) -> Config:
    """Read a configuration.

    Args:
        text: TOML.
        source: where it came from, for messages.

    Raises:
        ConfigError: not TOML, an unknown key (the hint names the nearest right one), a value out
            of its range, or settings that contradict each other.
    """
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    try:
        config = msgspec.convert(raw, Config)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ConfigError(f"{source}: {error}", _hint(str(error), raw)) from error
    if config.clip.pre_roll_s > config.clip.ring_s:
        raise ConfigError(
            f"{source}: clip.pre_roll_s is longer than clip.ring_s",
            "sound older than the ring no longer exists; shorten the one or lengthen the other",
        )
    return config


def _hint(message: str, raw: dict[str, Any]) -> str:
    unknown = re.search(r"unknown field `([^`]*)`(?: - at `\$\.?([^`]*)`)?", message)
    if unknown is None:
        return "docs/earmark.example.toml lists each setting with its range"
    key, path = unknown[1], unknown[2] or ""
    section: type[Settings] = Config
    for part in filter(None, path.split(".")):
        section = _section(section, part)
    near = difflib.get_close_matches(key, section.__struct_fields__, n=1, cutoff=0.5)
    if near:
        return f"did you mean {'.'.join(filter(None, [path, near[0]]))}?"
    # The right key in the wrong section is the other common slip.
    homes = [name for name in raw if key in _section(Config, name).__struct_fields__]
    homes += [
        name for name in Config.__struct_fields__ if key in _section(Config, name).__struct_fields__
    ]
    if homes:
        return f"did you mean {homes[0]}.{key}?"
    return f"the keys here are {', '.join(section.__struct_fields__)}"


def _section(parent: type[Settings], name: str) -> type[Settings]:
    """Return the section class that ``parent`` has under ``name``, or ``parent`` itself."""
    annotation = parent.__annotations__.get(name)
    candidates = (annotation, *get_args(annotation))
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, Settings):
            return candidate
    return Settings
