"""Catalogue of models: shipped with Earmark, in an installed package, or added by the user.

The openwakeword package is never imported, only its files are read: importing it costs seconds and
200 MB for scipy and scikit-learn.
"""

import importlib.resources
import re
import sys
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from listener.errors import ModelRefused
from listener.storage.atomic import open_plain_file
from listener.text_encoding import NotUtf8Error, decode_text
from listener.wakeword.manifest import File, Manifest, Model, parse_manifest

MANIFEST: Final = "manifest.toml"
EMBEDDING: Final = "embedding"
LONG_EMBEDDING: Final = "embedding-long"
FIRST_STAGE: Final = "first-stage"
ADDED_FIRST_STAGE: Final = "first-stage-added"
"""Name of the first stage to which ``earmark train`` adds words."""
SPEECH: Final = "silero-vad"

_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
_LARGEST_MANIFEST_BYTES: Final = 1 << 18


class Catalogue:
    """The available models and their verified content.

    Each call reads the files; no state, so safe for use by several threads.
    """

    def __init__(self, home: Path, added: Path | None = None) -> None:
        """Prepare; read nothing.

        Args:
            home: data directory, whose folder ``models`` holds added models; it need not exist.
            added: folder of added models, in place of ``home``/models.
        """
        self.home: Final = home
        """Data directory."""
        self.added: Final = home / "models" if added is None else added
        """Folder into which ``add_model`` writes models."""
        self._shipped: Traversable = importlib.resources.files("earmark_models")

    def names(self) -> tuple[str, ...]:
        """Return the names of all models, sorted, including unusable ones."""
        return tuple(sorted({*_folders(self._shipped), *_folders(self.added)}))

    def is_shipped(self, name: str) -> bool:
        """Return whether ``name`` is shipped with Earmark and therefore reserved."""
        return name in _folders(self._shipped)

    def folder(self, name: str) -> Traversable:
        """Return the folder of a model; an added model cannot shadow a shipped one.

        Raises:
            ModelRefused: there is no such model.
        """
        if _NAME.fullmatch(name):
            for place in (self._shipped, self.added):
                folder = place / name
                if (folder / MANIFEST).is_file():
                    return folder
        raise ModelRefused(
            f"there is no model {name!r}",
            f"use one of {', '.join(self.names())}; or add one: earmark models add FILE.onnx",
        )

    def manifest(self, name: str) -> Manifest:
        """Read the manifest of a model.

        Raises:
            ModelRefused: there is no such model, or its manifest is not valid.
        """
        source = self.folder(name) / MANIFEST
        data = _read(source, _LARGEST_MANIFEST_BYTES)
        try:
            text = decode_text(data)
        except NotUtf8Error as error:
            raise ModelRefused(f"cannot read {source}: {error}") from error
        manifest = parse_manifest(text, str(source))
        if manifest.name != name:
            raise ModelRefused(
                f"{source} names the model {manifest.name}, but its folder is {name}"
            )
        return manifest

    def manifests(self) -> tuple[Manifest, ...]:
        """Read all manifests, sorted by name.

        Raises:
            ModelRefused: a manifest is not valid.
        """
        return tuple(self.manifest(name) for name in self.names())

    def locate(self, manifest: Manifest, file: File) -> Traversable:
        """Return the path of a model's file; the file may be missing.

        Raises:
            ModelRefused: the package with the file is not installed in the right version.
        """
        package = manifest.package
        if package is None:
            return self.folder(manifest.name).joinpath(*file.path.split("/"))
        hint = (
            "install it: pip install 'earmark[device]',"
            f" or pip install {package.name}=={package.version}"
        )
        installed = _installed(package.name)
        if installed is None:
            raise ModelRefused(
                f"{manifest.name} needs the package {package.name}, which is not installed",
                hint,
            )
        version, folder = installed
        if version != package.version:
            raise ModelRefused(
                f"{manifest.name} needs {package.name} {package.version},"
                f" but {version} is installed",
                hint,
            )
        return folder / file.path

    def read(self, place: Traversable, file: File) -> bytes:
        """Read a model's file without verifying it; at most one byte more than its length.

        Raises:
            ModelRefused: the file cannot be read.
        """
        return _read(place, file.bytes)

    def load(self, name: str) -> Model:
        """Load a model: the verified bytes, not a path.

        Raises:
            ModelRefused: there is no such model, its manifest is not valid, a file or its package
                is missing, or a hash differs.
        """
        manifest = self.manifest(name)
        contents = []
        for file in manifest.files:
            place = self.locate(manifest, file)
            if not place.is_file():
                raise ModelRefused(
                    f"{name}: there is no file {place}",
                    "list what is missing: earmark models check",
                )
            contents.append(self.read(place, file))
        return Model(manifest, tuple(contents))

    def first_stage(self, words: Sequence[Model]) -> Model | None:
        """Load the first stage that knows all of some words; None if there is none.

        The shipped one comes before the one to which ``earmark train`` adds words: its losses
        were measured on real speech, too.

        Args:
            words: wake-word models.

        Raises:
            ModelRefused: as ``load``.
        """
        for name in (FIRST_STAGE, ADDED_FIRST_STAGE):
            if name in self.names() and all(map(self.manifest(name).knows, words)):
                return self.load(name)
        return None

    def second_opinions(self, words: Sequence[Model]) -> tuple[Model, ...]:
        """Load the models of the second opinions on some words; each once.

        Args:
            words: wake-word models.

        Raises:
            ModelRefused: as ``load``; a model is of another kind.
        """
        asked = (word.manifest.second_opinion for word in words)
        names = dict.fromkeys(each.model for each in asked if each is not None)
        models = tuple(self.load(name) for name in names)
        for model in models:
            if model.manifest.kind != "second-opinion":
                raise ModelRefused(
                    f"{model.name} is of the kind {model.manifest.kind}, not a second opinion",
                    "name a model of the kind second-opinion in the manifest of the word",
                )
        return models

    def second_sha256(self, word: Model) -> str | None:
        """Return the SHA-256 of the second network of a word; None if it has none.

        Raises:
            ModelRefused: there is no such model, or its manifest is not valid.
        """
        asked = word.manifest.second_opinion
        if asked is None:
            return None
        files = {file.path: file.sha256 for file in self.manifest(asked.model).files}
        return files.get(asked.file)

    def embedding(self) -> Model:
        """Load the streaming embedding network that all wake words share.

        Raises:
            ModelRefused: as ``load``.
        """
        return self.load(EMBEDDING)

    def long_embedding(self) -> Model:
        """Load the embedding network for batches; it has no mel weights.

        Raises:
            ModelRefused: as ``load``.
        """
        return self.load(LONG_EMBEDDING)

    def speech(self) -> Model:
        """Load the network for voice activity detection.

        Raises:
            ModelRefused: as ``load``.
        """
        return self.load(SPEECH)


def _folders(place: Traversable) -> list[str]:
    """Return the names of the folders in ``place`` with a manifest; none if it does not exist."""
    if not place.is_dir():
        return []
    return [
        entry.name
        for entry in place.iterdir()
        if _NAME.fullmatch(entry.name) and (entry / MANIFEST).is_file()
    ]


def _installed(package: str) -> tuple[str, Path] | None:
    """Return a package's version and the folder of its files; None if it is not installed.

    Searches for pip's ``.dist-info`` folders, as importlib.metadata does; importing that would load
    email and zipfile, 2 MB that the memory limit of hear has no room for.
    """
    stem, end = package.replace("-", "_"), ".dist-info"
    for folder in map(Path, sys.path):
        for info in folder.glob(f"{stem}-*{end}"):
            return info.name[len(stem) + 1 : -len(end)], folder
    return None


def _read(place: Traversable, most_bytes: int) -> bytes:
    """Read at most one byte more than ``most_bytes``, enough to detect a longer file."""
    try:
        with open_plain_file(place) if isinstance(place, Path) else place.open("rb") as stream:
            return stream.read(most_bytes + 1)
    except OSError as error:
        raise ModelRefused(f"cannot read {place}: {error.strerror}") from error
