from pathlib import Path

import pytest

from listener.assist.understanding import model_files
from listener.cli import demo_command
from listener.errors import ModelRefused, Unavailable


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo_command, "PACKAGES", ("earmark_missing",))

    with pytest.raises(Unavailable, match="earmark_missing is not installed") as caught:
        demo_command.find_model(tmp_path)

    assert caught.value.hint == "pip install 'earmark[assist]'"


def test_missing_model_is_named_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="speech model is not installed") as caught:
        demo_command.find_model(tmp_path)

    assert caught.value.hint == "run earmark assist models"


def test_damaged_model_is_refused(tmp_path: Path) -> None:
    folder = model_files.model_folder(tmp_path)
    folder.mkdir(parents=True)
    for name in model_files.FILES:
        (folder / name).write_bytes(b"damaged")

    with pytest.raises(ModelRefused, match="SHA-256 differs"):
        demo_command.find_model(tmp_path)
