"""Adding a model to the data directory: atomic and durable.

Separate from the catalogue, which only reads, so that ``hear`` has no code that writes models.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from listener.errors import ModelRefused, Unavailable
from listener.inference.catalogue import MANIFEST, Catalogue
from listener.storage.atomic import (
    PUBLIC_MODE,
    chown_folder,
    make_folders,
    sync_folder,
    write_atomic,
)
from listener.wakeword.manifest import Manifest, to_toml, verify

_FOLDER_MODE: Final = 0o755
_REPLACED: Final = ".replaced"


def add_model(
    catalogue: Catalogue,
    manifest: Manifest,
    data: bytes,
    beside: Mapping[str, bytes] | None = None,
    *,
    replaces: bool = False,
) -> bool:
    """Add a model of one file to the folder of added models.

    Args:
        catalogue: catalogue of the data directory.
        manifest: manifest of the model.
        data: content of ``manifest.file``.
        beside: content of other files of the folder, by name; one named ``manifest.toml`` must be
            the text of ``manifest``, with figures.
        replaces: replace an added model of this name; if killed meanwhile, it may be gone.

    Returns:
        False if the same file is already there under this name; nothing is changed then.

    Raises:
        ModelRefused: another model has this name, or the data differ from the manifest.
        Unavailable: the folder cannot be written.
    """
    if catalogue.is_shipped(manifest.name):
        raise ModelRefused(
            f"{manifest.name} is the name of a model shipped with Earmark",
            "choose another name: --name NAME",
        )
    verify(manifest, manifest.files[0], data)
    is_present = manifest.name in catalogue.names()
    if is_present and not replaces:
        return _check_same_model(catalogue, manifest)
    place = catalogue.added
    try:
        make_folders(place, _FOLDER_MODE)
        with _staging_folder(place) as folder:
            files = {MANIFEST: to_toml(manifest).encode(), **(beside or {}), manifest.file: data}
            for name, content in files.items():
                write_atomic(folder / name, content, PUBLIC_MODE)
            sync_folder(folder)
            if is_present:
                (place / manifest.name).rename(folder / _REPLACED)
            folder.rename(place / manifest.name)
            shutil.rmtree(place / manifest.name / _REPLACED, ignore_errors=True)
        sync_folder(place)
    except OSError as error:
        raise Unavailable(f"cannot write {place}: {error.strerror}") from error
    return True


def _check_same_model(catalogue: Catalogue, manifest: Manifest) -> bool:
    present = catalogue.manifest(manifest.name)
    if present.sha256 == manifest.sha256:
        return False
    raise ModelRefused(
        f"another model is named {manifest.name}",
        f"choose another name: --name NAME; or remove {catalogue.added / manifest.name}",
    )


@contextmanager
def _staging_folder(place: Path) -> Iterator[Path]:
    """Yield a new hidden folder; remove it afterwards unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".adding-", dir=place))
    try:
        # Root may add a model: hear runs as another user, and must read it.
        folder.chmod(_FOLDER_MODE)
        chown_folder(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
