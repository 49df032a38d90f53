"""Every setting, with its unit, its range and its default. Pure.

Seconds here, samples inside. The annotated example is ``docs/reference/earmark.example.toml``.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

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
    """Host name or IP address of the broker."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    """TCP port; brokers commonly use 8883 with TLS."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """``auto`` tries MQTT 5 and falls back to 3.1.1 where the broker knows no better."""
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 30
    """MQTT keep-alive interval."""
    username: str | None = None
    """User name for the broker; not needed with a client certificate."""
    password_file: PathText | None = None
    """File with the password of ``username``; must not be readable by others."""
    ca_file: PathText | None = None
    """With it, TLS is spoken and nothing else."""
    certificate_file: PathText | None = None
    """Client certificate of this device; set together with ``key_file``."""
    key_file: PathText | None = None
    """Private key of ``certificate_file``."""


class SpoolSettings(Settings, frozen=True, kw_only=True):
    """The queue between hear and send; the oldest is dropped, and counted, beyond any bound."""

    longest_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 32)] = 64 << 20
    """Total size of the waiting clips."""
    most_clips: Annotated[int, Meta(ge=1, le=100_000)] = 500
    """Number of waiting clips."""
    oldest_s: Annotated[int, Meta(ge=60, le=365 * 86_400)] = 7 * 86_400
    """Age of a waiting clip, in time that the device was running; at most ``clip.keep_days``."""
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
    """Private key of ``certificate_file``; set together with it."""


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
