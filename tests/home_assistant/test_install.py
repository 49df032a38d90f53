from pathlib import Path

import pytest

from listener.errors import Unavailable
from tests.home_assistant import install

OLD, NEW = install.RELEASES["2025.1"], install.RELEASES["2026.11"]


def fake_python(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any Python."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("PYTHON312", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_python_of_pyenv_is_found(computer: Path) -> None:
    fake_python(computer / ".pyenv/versions/3.12.0/bin/python3.12", "3 11")
    newer = fake_python(computer / ".pyenv/versions/3.12.4/bin/python3.12", "3 12")

    assert install.find_python(OLD) == newer


def test_named_python_is_the_only_candidate(
    computer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(computer / ".pyenv/versions/3.12.4/bin/python3.12", "3 12")
    monkeypatch.setenv("PYTHON312", str(fake_python(computer / "other/python", "3 13")))

    with pytest.raises(Unavailable, match=r"needs Python 3\.12"):
        install.find_python(OLD)


def test_missing_python_is_named_with_what_to_do(computer: Path) -> None:
    del computer
    with pytest.raises(Unavailable, match="there is none") as refusal:
        install.find_python(OLD)

    assert "PYTHON312=/path/to/python3.12" in refusal.value.hint


def test_each_release_looks_for_its_own_python(computer: Path) -> None:
    older = fake_python(computer / ".pyenv/versions/3.12.4/bin/python3.12", "3 12")
    newer = fake_python(computer / ".pyenv/versions/3.14.1/bin/python3.14", "3 14")

    assert install.find_python(OLD) == older
    assert install.find_python(NEW) == newer


def test_named_python_is_not_replaced_by_a_debian(
    computer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = fake_python(computer / "other/python", "3 13")
    monkeypatch.setenv("PYTHON314", str(named))

    with pytest.raises(Unavailable, match=r"needs Python 3\.14"):
        install.install(computer / "build", NEW)
