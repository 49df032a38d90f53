"""Models that somebody adds to the home: kept whole or not at all, and through a power cut.

Apart from the catalogue, which only reads: what hears has no code that writes models.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from listener.errors import ModelRefused, Unavailable
from listener.inference.catalogue import MANIFEST, Catalogue
from listener.storage.atomic import sync_folder
from listener.wakeword.manifest import Manifest, to_toml, verify


def add_model(catalogue: Catalogue, manifest: Manifest, data: bytes) -> bool:
    """Keep a model of one file in the home, where the catalogue finds it.

    Args:
        catalogue: of that home.
        manifest: says ``manifest.file`` and its hash.
        data: the bytes of that file.

    Returns:
        False if this very file is already there under this name; nothing is changed then.

    Raises:
        ModelRefused: the name is taken by another model, or the data are not the manifest's.
        Unavailable: the home cannot be written.
    """
    if catalogue.is_shipped(manifest.name):
        raise ModelRefused(
            f"{manifest.name} is the name of a model shipped with Earmark",
            "choose another name: --name NAME",
        )
    verify(manifest, manifest.files[0], data)
    if manifest.name in catalogue.names():
        return _check_same_model(catalogue, manifest)
    place = catalogue.added
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _staging_folder(place) as folder:
            _write(folder / manifest.file, data)
            _write(folder / MANIFEST, to_toml(manifest).encode())
            sync_folder(folder)
            folder.rename(place / manifest.name)
        sync_folder(place)
    except OSError as error:
        raise Unavailable(f"cannot write {place}: {error.strerror}") from error
    return True


def _check_same_model(catalogue: Catalogue, manifest: Manifest) -> bool:
    there = catalogue.manifest(manifest.name)
    if there.sha256 == manifest.sha256:
        return False
    raise ModelRefused(
        f"another model is named {manifest.name}",
        f"choose another name: --name NAME; or remove {catalogue.added / manifest.name}",
    )


@contextmanager
def _staging_folder(place: Path) -> Iterator[Path]:
    """Give a new folder that no name finds, and remove it unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".adding-", dir=place))
    try:
        folder.chmod(0o755)  # whoever hears must be able to read what the owner added
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
