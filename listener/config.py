"""Every setting, with its unit, its range and its default. Pure: text in, ``Config`` out.

Seconds here, samples inside. The annotated example is ``docs/earmark.example.toml``.
"""

import difflib
import tomllib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from listener.errors import ConfigError

ShortName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
"""A pseudonym fit for topics and file names: 1 to 32 of a-z, 0-9 and the hyphen."""

Probability = Annotated[float, Meta(gt=0, lt=1)]

PathText = Annotated[str, Meta(pattern=r"^[^\x00]+\Z")]
"""Where a file is; relative to the folder in which the program was started."""

LineName = (
    Annotated[int, Meta(ge=0, le=1023)] | Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,32}\Z")]
)
"""A GPIO line: its offset on its chip, or its name."""

CLIP_LIMIT_S = 30.0
"""No setting makes a clip longer: the envelope's ciphertext is bounded at 1 MiB."""


_DAY_S = 86_400


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the configuration; unknown keys are refused."""


class DeviceSettings(Settings, frozen=True, kw_only=True):
    """This speaker."""

    name: ShortName = "speaker"
    """What topics and envelopes call it."""
    confinement: Literal["required", "where-possible"] = "required"
    """What hear does on a machine where it cannot forbid itself the network: not start, or say so
    and start. Where it can, it does."""


class MicrophoneSettings(Settings, frozen=True, kw_only=True):
    """Where sound comes from."""

    device: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+\Z")] = (
        "default"
    )
    """``default``, an index, or part of a name, as `earmark doctor` lists them."""
    constant_s: Annotated[float, Meta(ge=0, le=60)] = 1.5
    """From so much sound on without any change, nothing is heard: a fault. 0: never."""
    files: tuple[PathText, ...] = ()
    """WAV, FLAC or Ogg files that stand in for a microphone, one after the other."""
    channel: Annotated[int, Meta(ge=0, le=63)] = 0
    """Which channel of a microphone array or a stereo file is heard."""


class MuteSettings(Settings, frozen=True, kw_only=True):
    """What shuts the microphone."""

    switch: Literal["input", "gpio", "none"] | None = None
    """Which switch is fitted: an input node of the kernel, a GPIO line, or none. A live microphone
    is not opened before this says so."""
    input: PathText | None = None
    """The input device's name or its node's path; without it, the only one that can mute."""
    chip: PathText = "/dev/gpiochip0"
    """The GPIO chip of ``line``."""
    line: LineName | None = None
    """The GPIO line: its offset on the chip, or its name."""
    shut_level: Literal["low", "high"] = "low"
    """The level of ``line`` that means muted; it is pulled there, so that a broken wire mutes."""
    debounce_ms: Annotated[int, Meta(ge=0, le=1000)] = 10
    """``line`` holds a level for so long before it counts."""
    other_microphones: Literal["refuse", "allow"] = "refuse"
    """What hear does where a switch is fitted and another sound card could hear as well, which the
    switch does not cut: not start, or name it and start."""
    remote_unmute: bool = False
    """Whether a message from the broker may take back a software mute; it may always mute."""


class LampSettings(Settings, frozen=True, kw_only=True):
    """What shows whether it hears."""

    kind: Literal["none", "gpio", "apa102"] = "none"
    """No lamp, one LED on a GPIO line, or a row of APA102 LEDs."""
    chip: PathText = "/dev/gpiochip0"
    """The GPIO chip of ``line``."""
    line: LineName | None = None
    """The GPIO line of the LED: its offset on the chip, or its name."""
    lit_level: Literal["low", "high"] = "high"
    """The level of ``line`` that lights it."""
    device: PathText = "/dev/spidev0.1"
    """The SPI device of APA102 LEDs."""
    leds: Annotated[int, Meta(ge=1, le=64)] = 3
    """How many APA102 LEDs."""
    brightness: Annotated[int, Meta(ge=1, le=15)] = 2
    """Of APA102 LEDs, in 31st parts of what they can."""


class ChimeSettings(Settings, frozen=True, kw_only=True):
    """A short tone after the wake word."""

    on_wake: bool = False
    """With it, a clip begins after the tone: ``clip.pre_roll_s`` must be 0."""
    device: Annotated[str, Meta(min_length=1)] | None = None
    """The loudspeaker, by its name or index; without it, the system's."""
    volume: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """Of full scale."""


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

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """``auto`` tries MQTT 5 and falls back to 3.1.1 where the broker knows no better."""
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 30
    username: str | None = None
    password_file: PathText | None = None
    ca_file: PathText | None = None
    """With it, TLS is spoken and nothing else."""
    certificate_file: PathText | None = None
    key_file: PathText | None = None


class SpoolSettings(Settings, frozen=True, kw_only=True):
    """The queue between hear and send; the oldest is dropped, and counted, beyond any bound."""

    longest_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 64 << 20
    most_clips: Annotated[int, Meta(ge=1, le=100_000)] = 500
    oldest_s: Annotated[int, Meta(ge=60, le=365 * 86_400)] = 7 * 86_400
    retry_s: Annotated[float, Meta(ge=0.1, le=600)] = 5.0
    """How long send waits for the archive's acknowledgement before it publishes again."""


class ArchiveSettings(Settings, frozen=True, kw_only=True):
    """Where owners reach the archive; the socket ``<home>/archive.sock`` is always there."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """An address of this machine or of a private network."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """0: only the socket in the home."""
    certificate_file: PathText | None = None
    """With it TLS 1.3 is spoken; without it only this machine is answered."""
    key_file: PathText | None = None


class UpdateSettings(Settings, frozen=True, kw_only=True):
    """Whose releases are installed, and where."""

    folder: PathText = "/opt/earmark"
    """Where the versions are, each in a folder of its name."""
    keys: tuple[Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/=]{44}\Z")], ...] = ()
    """Public keys of who may sign a release, besides those that came with the program."""


class Config(Settings, frozen=True, kw_only=True):
    """All of it."""

    home: Annotated[str, Meta(pattern=r"^[^\x00]*\Z")] = ""
    """Folder of keys, roster, spool and archive; ``cli`` fills in the user's data folder."""
    device: DeviceSettings = DeviceSettings()
    microphone: MicrophoneSettings = MicrophoneSettings()
    mute: MuteSettings = MuteSettings()
    lamp: LampSettings = LampSettings()
    chime: ChimeSettings = ChimeSettings()
    wake: WakeSettings = WakeSettings()
    clip: ClipSettings = ClipSettings()
    attribution: AttributionSettings = AttributionSettings()
    broker: BrokerSettings = BrokerSettings()
    spool: SpoolSettings = SpoolSettings()
    archive: ArchiveSettings = ArchiveSettings()
    update: UpdateSettings = UpdateSettings()


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
        stray = _stray(raw, Config, ())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    except (ValueError, RecursionError) as error:
        # Python's own limits: digits of a number, depth of brackets.
        raise ConfigError(f"{source} has a number too long or brackets too deep") from error
    if stray is not None:
        raise ConfigError(f"{source}: there is no setting {'.'.join(stray)}", _nearest(stray))
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$.")
        where = f"{path.rstrip('`')}: " if path else ""
        hint = "docs/earmark.example.toml lists each setting with its range"
        if "{1,32}" in expected:
            expected, hint = (
                "not a short name",
                "short names are 1 to 32 of a-z, 0-9 and the hyphen",
            )
        raise ConfigError(f"{source}: {where}{expected[0].lower()}{expected[1:]}", hint) from error
    _agree(config, source)
    return config


def _agree(config: Config, source: str) -> None:
    """Refuse settings that are each in range and make no sense together."""
    if config.clip.pre_roll_s > config.clip.ring_s:
        raise ConfigError(
            f"{source}: clip.pre_roll_s is longer than clip.ring_s",
            "sound older than the ring no longer exists; shorten the one or lengthen the other",
        )
    if config.mute.switch == "gpio" and config.mute.line is None:
        raise ConfigError(
            f"{source}: mute.switch is gpio, and there is no mute.line",
            "mute.line is the line's offset on mute.chip, such as 27, or its name",
        )
    if config.lamp.kind == "gpio" and config.lamp.line is None:
        raise ConfigError(
            f"{source}: lamp.kind is gpio, and there is no lamp.line",
            "lamp.line is the line's offset on lamp.chip, such as 12, or its name",
        )
    if config.chime.on_wake and config.clip.pre_roll_s > 0:
        raise ConfigError(
            f"{source}: chime.on_wake needs clip.pre_roll_s = 0",
            "no clip spans the chime: it begins after it, so there is nothing before the wake",
        )
    if len(set(config.wake.words)) < len(config.wake.words):
        raise ConfigError(f"{source}: wake.words names a model twice", "once is enough")
    idle = config.wake.thresholds.keys() - set(config.wake.words)
    if idle:
        raise ConfigError(
            f"{source}: wake.thresholds has {min(idle)}, which wake.words does not",
            f"wake.words are {', '.join(config.wake.words)}",
        )
    for name, section in (("broker", config.broker), ("archive", config.archive)):
        if (section.certificate_file is None) != (section.key_file is None):
            raise ConfigError(
                f"{source}: {name}.certificate_file and {name}.key_file belong together",
                "give both, or neither",
            )
    if config.spool.oldest_s > config.clip.keep_days * _DAY_S:
        raise ConfigError(
            f"{source}: spool.oldest_s is longer than clip.keep_days",
            "a clip would wait in the spool for longer than it may be kept anywhere",
        )


_Path = tuple[str, ...]


def _stray(raw: dict[str, Any], section: type[Settings], path: _Path) -> _Path | None:
    """Return the path of the first key that no section knows."""
    for key, value in raw.items():
        if key not in section.__struct_fields__:
            return (*path, key)
        inner = _sections(section).get(key)
        found = _stray(value, inner, (*path, key)) if inner and isinstance(value, dict) else None
        if found:
            return found
    return None


def _nearest(stray: _Path) -> str:
    """Name the right key that the reader most likely meant."""
    *path, key = stray
    known: list[_Path] = [(name,) for name in Config.__struct_fields__]
    for name, inner in _sections(Config).items():
        known += [(name, field) for field in inner.__struct_fields__]
    # The right key in the wrong section is as common a slip as a misspelt one.
    same = [right for right in known if right[-1] == key]
    if same:
        return f"did you mean {'.'.join(same[0])}?"
    siblings = {right[-1]: right for right in known if list(right[:-1]) == path}
    everywhere = {right[-1]: right for right in known}
    for candidates, cutoff in ((siblings, 0.75), (everywhere, 0.75), (siblings, 0.6)):
        near = difflib.get_close_matches(key, candidates, n=1, cutoff=cutoff)
        if near:
            return f"did you mean {'.'.join(candidates[near[0]])}?"
    return f"the keys here are {', '.join(siblings)}"


def _sections(parent: type[Settings]) -> dict[str, type[Settings]]:
    """Return the fields of ``parent`` that are sections of their own."""
    return {
        name: kind
        for name, kind in parent.__annotations__.items()
        if isinstance(kind, type) and issubclass(kind, Settings)
    }
