"""Configuration: every key with its unit, range and default, and the reader of its TOML. Pure.

Times are in seconds here and in samples elsewhere. ``docs/reference/earmark.example.toml`` is an
annotated example; ``docs/reference/configuration.md`` is generated from the docstrings here.
"""

import difflib
import re
import tomllib
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from listener.errors import ConfigError, UsageError

ShortName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}\Z")]
"""Short name, usable in topics and file names: 1 to 32 of a-z, 0-9 and the hyphen."""


def check_short_name(name: str, kind: str) -> str:
    """Return a name if it is a ``ShortName``.

    Args:
        name: from the command line.
        kind: what bears it, for the message: "an owner", "a device".

    Raises:
        UsageError: it is not.
    """
    try:
        return msgspec.convert(name, ShortName)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name!r} is not a valid name for {kind}",
            "use 1 to 32 of a-z, 0-9 and the hyphen; prefer a pseudonym, since the broker sees it",
        ) from error


Probability = Annotated[float, Meta(gt=0, lt=1)]

PathText = Annotated[str, Meta(pattern=r"^[^\x00]+\Z")]
"""Path of a file or directory; relative to the current directory."""

LineName = (
    Annotated[int, Meta(ge=0, le=1023)] | Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,32}\Z")]
)
"""A GPIO line: its offset on its chip, or its name."""

CLIP_LIMIT_S = 30.0
"""Upper limit of a clip's length, because the envelope's ciphertext is at most 1 MiB."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the configuration; unknown keys are refused."""


class DeviceSettings(Settings, frozen=True, kw_only=True):
    """This speaker."""

    name: ShortName = "speaker"
    """Name of the device in topics and envelopes."""
    confinement: Literal["required", "where-possible"] = "required"
    """If `hear` cannot install its seccomp filter: ``required`` refuses to start,
    ``where-possible`` starts with a warning. An available filter is always installed."""


class MicrophoneSettings(Settings, frozen=True, kw_only=True):
    """The audio source."""

    device: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+\Z")] = (
        "default"
    )
    """``default``, an index, or part of a name; `earmark doctor` lists the devices."""
    constant_s: Annotated[float, Meta(ge=0, le=60)] = 1.5
    """Samples that do not change for this long are a fault; 0 turns the check off."""
    files: tuple[PathText, ...] = ()
    """WAV, FLAC or Ogg files to use instead of a microphone, one after the other."""
    channel: Annotated[int, Meta(ge=0, le=63)] = 0
    """Channel of a microphone array or a stereo file, from 0."""
    cancels_echo: bool = False
    """Whether the card removes the sound of its own loudspeaker. If not, `hear` discards all audio
    while `play` sounds, and for 0.4 s after it."""


class MuteSettings(Settings, frozen=True, kw_only=True):
    """The mute switch and remote mute."""

    switch: Literal["input", "gpio", "none"] | None = None
    """The fitted switch: a kernel input device, a GPIO line, or none. Required before `hear` opens
    a live microphone."""
    input: PathText | None = None
    """Name of the input device or path of its node; by default the only one that can mute."""
    chip: PathText = "/dev/gpiochip0"
    """The GPIO chip of ``line``."""
    line: LineName | None = None
    """The GPIO line: its offset on the chip, or its name."""
    shut_level: Literal["low", "high"] = "low"
    """Level of ``line`` that means muted; the line is pulled to it, so that a broken wire mutes."""
    debounce_ms: Annotated[int, Meta(ge=0, le=1000)] = 10
    """Time for which ``line`` must hold a level before it counts."""
    other_microphones: Literal["refuse", "allow"] = "refuse"
    """If a switch is fitted and another sound card can capture audio, which the switch does not
    cut: ``refuse`` to start, or ``allow`` it with a warning."""
    remote_unmute: bool = False
    """Whether a message from the broker may end a software mute. A message may always mute."""


class LampSettings(Settings, frozen=True, kw_only=True):
    """The LED that shows the state."""

    kind: Literal["none", "gpio", "apa102"] = "none"
    """No LED, one LED on a GPIO line, or a row of APA102 LEDs."""
    chip: PathText = "/dev/gpiochip0"
    """The GPIO chip of ``line``."""
    line: LineName | None = None
    """The GPIO line of the LED: its offset on the chip, or its name."""
    lit_level: Literal["low", "high"] = "high"
    """Level of ``line`` that turns the LED on."""
    device: PathText = "/dev/spidev0.1"
    """The SPI device of APA102 LEDs."""
    leds: Annotated[int, Meta(ge=1, le=64)] = 3
    """Number of APA102 LEDs."""
    brightness: Annotated[int, Meta(ge=1, le=15)] = 2
    """Brightness of APA102 LEDs, in 31sts of the maximum."""


class ChimeSettings(Settings, frozen=True, kw_only=True):
    """A short tone after the wake word."""

    on_wake: bool = False
    """Play the tone at every wake, by `hear` itself. A clip then begins after it, and
    ``clip.pre_roll_s`` must be 0."""
    in_pause: bool = True
    """Play the tone, by `play`, only where nothing is said for 1.2 s after the wake word; the clip
    then begins after it. A command in one breath with the wake word has no tone and is not cut."""
    device: Annotated[str, Meta(min_length=1)] | None = None
    """Name or index of the loudspeaker; by default the system's."""
    volume: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """Fraction of full scale."""


class PlayerSettings(Settings, frozen=True, kw_only=True):
    """Replies and built-in sounds, played by `earmark play`."""

    device: Annotated[str, Meta(min_length=1)] | None = None
    """Name or index of the loudspeaker; by default the system's."""
    volume: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Factor for the samples of every sound."""
    button: PathText | None = None
    """Input device of a button that stops a sound, such as ``/dev/input/earmark-stop``; any of its
    keys."""


class WakeSettings(Settings, frozen=True, kw_only=True):
    """Wake words and the rule that turns scores into wakes."""

    words: Annotated[tuple[ShortName, ...], Meta(min_length=1)] = ("alexa",)
    """Wake-word models, by their names in ``earmark models list``."""
    thresholds: dict[ShortName, Probability] = {}
    """Score at which a model wakes; by default its manifest's."""
    remote_threshold: bool = False
    """Whether a message from the broker may set a threshold below the configured one. A message may
    always raise it."""
    patience_frames: Annotated[int, Meta(ge=1, le=25)] | None = None
    """Frames in a row at or above the threshold; by default the model's, or 1."""
    refractory_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """Time after a wake without another wake."""
    near_miss_threshold: Probability = 0.2
    """A peak between this and the threshold is a near miss."""
    hop_ms: Literal[40, 80] = 80
    """Time between scores; 40 halves the latency for about half as much CPU again."""
    lazy: bool = True
    """Compute only the features in a quiet room; wakes and near misses stay the same."""
    second_opinion: bool = True
    """Where a word scores faintly, ask a second network about it, if its model names one, and take
    the mean of both: fewer false wakes and fewer misses. It runs only at these moments."""
    first_stage: bool = False
    """In speech, run the full network only where a small network finds that a word is possible. It
    takes a quarter of the CPU; some faint near misses go unreported, and very few wakes. Without
    effect if it does not know a word; ``earmark train --first-stage`` adds a word of yours."""


class ClipSettings(Settings, frozen=True, kw_only=True):
    """Start, end and retention of a clip."""

    ring_s: Annotated[float, Meta(ge=1, le=5)] = 2.0
    """Length of the ring buffer; older audio is overwritten."""
    pre_roll_s: Annotated[float, Meta(ge=0, le=5)] = 1.5
    """Audio before the wake that belongs to the clip; at most ``ring_s``."""
    post_roll_s: Annotated[float, Meta(ge=0, le=2)] = 0.3
    """Audio kept after the last speech."""
    silence_s: Annotated[float, Meta(ge=0.2, le=3)] = 0.5
    """Silence that ends the utterance."""
    no_speech_s: Annotated[float, Meta(ge=0.5, le=10)] = 3.0
    """The clip ends if there is no speech after the wake word for this long."""
    longest_s: Annotated[float, Meta(ge=1, le=CLIP_LIMIT_S)] = 10.0
    """Maximum length of the clip, from the wake."""
    provisional_parts: bool = True
    """Send assist the command so far at a pause of 0.25 s, at most twice, so that it is recognised
    before the end of the clip; a whole command is carried out after some 0.5 s of silence. The
    operator of the broker sees the pauses."""
    speech_threshold: Probability = 0.5
    """Probability of speech at which a frame counts as speech."""
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """Retention, written into the envelope; the archive erases the clip after this time."""


class AttributionSettings(Settings, frozen=True, kw_only=True):
    """The owner of the clips."""

    mode: Literal["keeper", "keeper-voice", "voice"] = "keeper"
    """``keeper``: every clip belongs to the device's one keeper. ``keeper-voice``: so, but only if
    the voice is the keeper's. ``voice``: a clip belongs to the enrolled owner whose voice it is.
    In the last two a clip of any other or an uncertain voice is not made."""
    keeper: ShortName | None = None
    """Short name of the owner of this device; needed in every mode."""
    threshold: Probability = 0.44
    """Lowest similarity to a voiceprint at which a voice is its owner's; the threshold that
    enrolment calibrated for the owner applies where it is higher."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.05
    """Least difference between the similarities of the best and the second voiceprint."""
    bystanders: Literal["drop", "trim", "keep"] = "drop"
    """With attribution by voice, a clip in which another voice speaks for more than a moment:
    ``drop``: no clip; ``trim``: only the part up to the other voice; ``keep``: all of it."""


BrokerAddress = Annotated[
    str, Meta(pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[^\s:\[\]]{1,253})(:[0-9]{1,5})?\Z")
]
"""Address of a broker: ``HOST``, ``HOST:PORT``, ``[IPV6]`` or ``[IPV6]:PORT``."""


class BrokerSettings(Settings, frozen=True, kw_only=True):
    """The MQTT broker, or several of them."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Host name or IP address of the broker."""
    hosts: Annotated[tuple[BrokerAddress, ...], Meta(max_length=8)] = ()
    """Several brokers in place of ``host``, each ``HOST`` or ``HOST:PORT``. `send` uses one that
    answers and prefers the first; `archive`, `assist` and `household` use all of them."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    """TCP port; brokers commonly use 8883 with TLS."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """``auto`` tries MQTT 5 and falls back to 3.1.1 if the broker does not support it."""
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 30
    """MQTT keep-alive interval."""
    username: str | None = None
    """User name for the broker; not needed with a client certificate."""
    password_file: PathText | None = None
    """File with the password of ``username``; must not be readable by others."""
    ca_file: PathText | None = None
    """Certificate authority of the broker; if set, only TLS is used."""
    certificate_file: PathText | None = None
    """Client certificate of this device; set together with ``key_file``."""
    key_file: PathText | None = None
    """Private key of ``certificate_file``."""
    hermes: bool = False
    """Publish each wake for Rhasspy too, on ``hermes/hotword/<word>/detected``."""

    @property
    def address(self) -> str:
        """Host and port of a single broker."""
        return f"{self.host}:{self.port}"

    def each(self) -> "tuple[BrokerSettings, ...]":
        """Return the settings of each broker, with its ``host`` and ``port`` and no ``hosts``.

        Raises:
            ConfigError: a port in ``hosts`` is out of range, or an address is there twice.
        """
        if not self.hosts:
            return (self,)
        found = []
        for address in self.hosts:
            host, port = _split_address(address, self.port)
            if not 1 <= port <= _LAST_PORT:
                raise ConfigError(
                    f"broker.hosts has {address}; the range of a port is 1 to {_LAST_PORT}"
                )
            found.append(msgspec.structs.replace(self, hosts=(), host=host, port=port))
        if len({(one.host, one.port) for one in found}) < len(found):
            raise ConfigError("broker.hosts has an address twice", "remove one of them")
        return tuple(found)


_LAST_PORT: Final = 65535


def _split_address(address: str, port: int) -> tuple[str, int]:
    """Return host and port of a ``BrokerAddress``; the host of an IPv6 address has no brackets."""
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        return host, int(rest[1:]) if rest else port
    host, _, own = address.partition(":")
    return host, int(own) if own else port


class SpoolSettings(Settings, frozen=True, kw_only=True):
    """The queue between `hear` and `send`; over a limit the oldest clip is dropped and counted."""

    longest_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 64 << 20
    """Total size of the waiting clips."""
    most_clips: Annotated[int, Meta(ge=1, le=100_000)] = 500
    """Number of waiting clips."""
    oldest_s: Annotated[int, Meta(ge=60, le=365 * 86_400)] = 7 * 86_400
    """Age of a waiting clip, in time that the device was running; at most ``clip.keep_days``."""
    retry_s: Annotated[float, Meta(ge=0.1, le=600)] = 5.0
    """Time that `send` waits for the archive's acknowledgement before it publishes again."""


class ArchiveSettings(Settings, frozen=True, kw_only=True):
    """Limits of the archive, and an address of its API besides ``<home>/archive.sock``."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """An address of this machine or of a private network."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """TCP port; 0: only the socket."""
    certificate_file: PathText | None = None
    """Server certificate for TLS 1.3; without it only this machine is served."""
    key_file: PathText | None = None
    """Private key of ``certificate_file``; set together with it."""
    proxy_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """TCP port of ``host`` for a trusted proxy, which shows its certificate; 0: none."""
    proxy_certificate_file: PathText | None = None
    """The proxy's client certificate; no other is accepted on ``proxy_port``."""
    page: bool = False
    """Serve the browser page beside the API, for phones; with ``port`` and a certificate only."""
    least_free_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 64 << 20
    """New clips wait in the spools while less than this is free, or less than 5 % of the disk (at
    most 1 GiB), so that owners can still erase; 0 turns this off."""
    clips_per_hour: Annotated[int, Meta(ge=0, le=1_000_000)] = 600
    """Clips of one device that are stored in an hour; more are deferred. 0: no limit."""
    bytes_per_day: Annotated[int, Meta(ge=0, le=1 << 40)] = 256 << 20
    """Bytes of one device that are stored in a day; more are deferred. 0: no limit."""
    database: Annotated[str, Meta(pattern=r"^postgres(ql)?://[\x21-\x7e]{1,500}\Z")] | None = None
    """PostgreSQL database of several archive processes; by default SQLite files in ``home``."""
    objects: Annotated[str, Meta(pattern=r"^s3://[\x21-\x7e]{1,500}\Z")] | None = None
    """Bucket and prefix of the clips in an object store, with ``database``; ``AWS_ENDPOINT_URL``,
    ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY`` are read from the environment."""
    instance: Annotated[int, Meta(ge=0, le=99)] = 0
    """Number of this archive process among several that share one database, from 1 on; 0: the only
    one. The process is ``s-archive-<number>`` at the brokers."""
    instances: Annotated[int, Meta(ge=1, le=99)] = 1
    """Number of archive processes that share one database. A clip is stored at once by one of
    them, and after a second by another if that one has not answered."""

    @property
    def process_name(self) -> str:
        """Name of the process and its lock: ``archive``, or ``archive-<instance>``."""
        return f"archive-{self.instance}" if self.instance else "archive"


class AssistSettings(Settings, frozen=True, kw_only=True):
    """Voice control: speech to text, Home Assistant, and spoken replies."""

    recogniser: Literal["home-assistant", "wyoming", "built-in"] = "home-assistant"
    """Speech to text: by the pipeline of Home Assistant, by a Wyoming server, or built in: a
    process on this computer that understands the sentences of ``home_file`` only."""
    agent: Literal["home-assistant", "built-in"] = "home-assistant"
    """What carries commands out: Home Assistant, or Earmark itself, by ``home_file``."""
    home_file: PathText | None = None
    """File of the home's things, for ``built-in``; docs/reference/home.example.toml is one."""
    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z]{2,4})?\Z")] = "en"
    """Language of commands and replies, for Wyoming and for the program that speaks."""
    url: Annotated[str, Meta(pattern=r"^https?://[\x21-\x7e]{1,200}\Z")] = "http://127.0.0.1:8123"
    """Address of Home Assistant; ``https`` where it is another computer."""
    ca_file: PathText | None = None
    """Certificate authority of ``url``; by default those of the system."""
    token_file: PathText | None = None
    """File with a long-lived access token of Home Assistant; must not be readable by others."""
    owner_token_files: dict[ShortName, PathText] = {}
    """The same for the commands of one owner, who is then the user in Home Assistant."""
    pipeline: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    """Name of the Assist pipeline; by default the preferred one."""
    wyoming_host: Annotated[str, Meta(min_length=1, max_length=253)] = "127.0.0.1"
    """Host of the Wyoming server. The sound goes there without encryption."""
    wyoming_port: Annotated[int, Meta(ge=1, le=65535)] = 10_300
    """TCP port of the Wyoming server."""
    voice: Literal["auto", "home-assistant", "program", "none"] = "auto"
    """Spoken replies: by the pipeline of Home Assistant, by espeak-ng, by the first of them
    that works, or none, so that only the sound of the outcome is played."""
    announcements: bool = True
    """Speak the announcements that Home Assistant sends by message; false: no message makes a
    speaker sound."""
    groups: dict[ShortName, tuple[ShortName, ...]] = {}
    """Speakers of which only one answers, by a name for each group; all others form one group."""
    roster_folder: PathText | None = None
    """Folder of the household's ``roster.json``; by default ``home``."""


class UpdateSettings(Settings, frozen=True, kw_only=True):
    """Signed releases and where they are installed."""

    folder: PathText = "/opt/earmark"
    """Directory of the installed versions, one subdirectory each."""
    keys: tuple[Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/=]{44}\Z")], ...] = ()
    """Public keys that may sign a release, besides those that came with the program."""


class Config(Settings, frozen=True, kw_only=True):
    """The whole configuration."""

    home: Annotated[str, Meta(pattern=r"^[^\x00]*\Z")] = ""
    """Directory of keys, roster, spool and archive; by default the user's data directory."""
    device: DeviceSettings = DeviceSettings()
    microphone: MicrophoneSettings = MicrophoneSettings()
    mute: MuteSettings = MuteSettings()
    lamp: LampSettings = LampSettings()
    chime: ChimeSettings = ChimeSettings()
    player: PlayerSettings = PlayerSettings()
    wake: WakeSettings = WakeSettings()
    clip: ClipSettings = ClipSettings()
    attribution: AttributionSettings = AttributionSettings()
    broker: BrokerSettings = BrokerSettings()
    spool: SpoolSettings = SpoolSettings()
    archive: ArchiveSettings = ArchiveSettings()
    assist: AssistSettings = AssistSettings()
    update: UpdateSettings = UpdateSettings()


LIMIT_BYTES: Final = 1 << 20
"""Longest configuration file, in bytes."""
_DAY_S: Final = 86_400
_Path: TypeAlias = tuple[str, ...]


_DEEPEST_KEY: Final = 32
_KEY_PART: Final = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_DEEP_KEY: Final = re.compile(
    rf"(?<![A-Za-z0-9_-]){_KEY_PART}(?:[ \t]*+\.[ \t]*+{_KEY_PART}){{{_DEEPEST_KEY}}}"
)


def suggest_spaces(text: str) -> str:
    """Return the hint for a file that is not TOML where a space is not the ordinary one, or empty.

    Word processors and web pages put a no-break space, which looks the same.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if any(each.isspace() and each not in " \t" for each in line) or "\u200b" in line:
            return f"type the spaces in line {number} anew: one is not an ordinary space"
    return ""


def describe_threshold(word: str, threshold: object) -> str | None:
    """Return what is wrong with a wake word's threshold, or None if it is right."""
    if isinstance(threshold, int | float) and 0 < threshold < 1:
        return None
    shown = threshold if isinstance(threshold, int | float) else "not a number"
    return f"the threshold of {word} is {shown}; the range is over 0 and under 1"


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML that anyone may have written, in time proportional to its length.

    The time of ``tomllib`` grows with the square of a dotted key's length: 60 kB of ``a.a.a…``
    take a minute. Such a key is refused before it is parsed.

    Raises:
        ValueError: it is not TOML (``tomllib.TOMLDecodeError``), has a number with too many digits
            or a date that does not exist, or is nested too deeply. Nothing else is raised.
    """
    if _DEEP_KEY.search(text):
        raise ValueError(f"a key has more than {_DEEPEST_KEY} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("brackets that are too deep") from error


def parse_settings(text: str, source: str) -> Config:
    """Read a configuration.

    Args:
        text: TOML.
        source: name of the file, for messages.

    Raises:
        ConfigError: not TOML, an unknown key (the hint names the nearest valid one), a value out
            of its range, or values that contradict each other.
    """
    try:
        raw = parse_toml(text)
        unknown = _find_unknown_key(raw, Config, ())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}", suggest_spaces(text)) from error
    except (ValueError, RecursionError) as error:
        # Python's own limits: digits of a number, depth of brackets.
        raise ConfigError(f"{source} has a number too long or brackets too deep") from error
    if unknown is not None:
        raise ConfigError(f"{source}: unknown key {'.'.join(unknown)}", _suggest_key(unknown))
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$.")
        where = f"{path.rstrip('`')}: " if path else ""
        hint = "see docs/reference/earmark.example.toml for each key and its range"
        if "thresholds[...]" in path:
            thresholds = raw["wake"]["thresholds"].items()
            faults = (describe_threshold(word, value) for word, value in thresholds)
            expected = next(filter(None, faults), expected)
            where, hint = "wake.thresholds: ", "correct it, or remove it for the model's own"
        if "{1,32}" in expected:
            expected, hint = (
                "not a short name",
                "use 1 to 32 of a-z, 0-9 and the hyphen",
            )
        raise ConfigError(f"{source}: {where}{expected[0].lower()}{expected[1:]}", hint) from error
    _check_consistency(config, source)
    _check_certificates(config, source)
    _check_brokers(config.broker, source)
    _check_archive(config.archive, source)
    _check_assist(config.assist, source)
    return config


def _check_consistency(config: Config, source: str) -> None:
    """Refuse values that are each in range and contradict each other."""
    if config.clip.pre_roll_s > config.clip.ring_s:
        raise ConfigError(
            f"{source}: clip.pre_roll_s is longer than clip.ring_s",
            "shorten clip.pre_roll_s or lengthen clip.ring_s: the ring buffer holds no older audio",
        )
    if config.mute.switch == "gpio" and config.mute.line is None:
        raise ConfigError(
            f"{source}: mute.switch is gpio, and mute.line is missing",
            "set mute.line to the line's offset on mute.chip, such as 27, or to its name",
        )
    if config.lamp.kind == "gpio" and config.lamp.line is None:
        raise ConfigError(
            f"{source}: lamp.kind is gpio, and lamp.line is missing",
            "set lamp.line to the line's offset on lamp.chip, such as 12, or to its name",
        )
    if config.chime.on_wake and config.clip.pre_roll_s > 0:
        raise ConfigError(
            f"{source}: chime.on_wake needs clip.pre_roll_s = 0",
            "set clip.pre_roll_s to 0: a clip begins after the chime",
        )
    if len(set(config.wake.words)) < len(config.wake.words):
        raise ConfigError(f"{source}: wake.words names a model twice", "remove one of them")
    idle = config.wake.thresholds.keys() - set(config.wake.words)
    if idle:
        raise ConfigError(
            f"{source}: wake.thresholds has {min(idle)}, which wake.words does not",
            f"use one of wake.words: {', '.join(config.wake.words)}",
        )
    if config.spool.oldest_s > config.clip.keep_days * _DAY_S:
        raise ConfigError(
            f"{source}: spool.oldest_s is longer than clip.keep_days",
            "lower spool.oldest_s to at most clip.keep_days, in seconds",
        )


def _check_certificates(config: Config, source: str) -> None:
    for name, section in (("broker", config.broker), ("archive", config.archive)):
        if (section.certificate_file is None) != (section.key_file is None):
            raise ConfigError(
                f"{source}: {name}.certificate_file and {name}.key_file belong together",
                "set both, or neither",
            )
    if config.archive.page and not (config.archive.port and config.archive.certificate_file):
        raise ConfigError(
            f"{source}: archive.page needs archive.port and archive.certificate_file",
            "set both: the page is served over https only",
        )


def _check_brokers(broker: BrokerSettings, source: str) -> None:
    try:
        broker.each()
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}", error.hint) from error


def _check_archive(archive: ArchiveSettings, source: str) -> None:
    if (archive.database is None) != (archive.objects is None):
        raise ConfigError(
            f"{source}: archive.database and archive.objects belong together",
            "set both, or neither",
        )
    if archive.instance and archive.database is None:
        raise ConfigError(
            f"{source}: archive.instance needs archive.database",
            "remove archive.instance, or set archive.database and archive.objects",
        )


def _check_assist(assist: AssistSettings, source: str) -> None:
    if "built-in" in {assist.recogniser, assist.agent} and assist.home_file is None:
        raise ConfigError(
            f"{source}: built-in needs assist.home_file, which is missing",
            "set assist.home_file to a file such as docs/reference/home.example.toml",
        )
    grouped = [device for devices in assist.groups.values() for device in devices]
    if len(set(grouped)) < len(grouped):
        raise ConfigError(
            f"{source}: assist.groups names a speaker twice", "let each speaker be in one group"
        )


def _find_unknown_key(raw: dict[str, Any], section: type[Settings], path: _Path) -> _Path | None:
    """Return the path of the first key that no section knows."""
    for key, value in raw.items():
        if key not in section.__struct_fields__:
            return (*path, key)
        inner = _sections(section).get(key)
        found = (
            _find_unknown_key(value, inner, (*path, key))
            if inner and isinstance(value, dict)
            else None
        )
        if found:
            return found
    return None


def _suggest_key(unknown: _Path) -> str:
    """Name the valid key that the reader most likely meant."""
    *path, key = unknown
    known: list[_Path] = [(name,) for name in Config.__struct_fields__]
    for name, inner in _sections(Config).items():
        known += [(name, field) for field in inner.__struct_fields__]
    siblings = {valid[-1]: valid for valid in known if list(valid[:-1]) == path}
    if slip := difflib.get_close_matches(key, siblings, n=1, cutoff=0.9):  # such as a plural
        return f"did you mean {'.'.join(siblings[slip[0]])}?"
    # A valid key in the wrong section is as common a mistake as a misspelt one.
    same = [valid for valid in known if valid[-1] == key]
    if same:
        return f"did you mean {'.'.join(same[0])}?"
    everywhere = {valid[-1]: valid for valid in known}
    for candidates, cutoff in ((siblings, 0.75), (everywhere, 0.75), (siblings, 0.6)):
        near = difflib.get_close_matches(key, candidates, n=1, cutoff=cutoff)
        if near:
            return f"did you mean {'.'.join(candidates[near[0]])}?"
    return f"use one of {', '.join(siblings)}"


def _sections(parent: type[Settings]) -> dict[str, type[Settings]]:
    """Return the fields of ``parent`` that are sections of their own."""
    return {
        name: kind
        for name, kind in parent.__annotations__.items()
        if isinstance(kind, type) and issubclass(kind, Settings)
    }
