"""A speaker of which 0.1.0 runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from listener.cli import main
from tests.update.speaker import PINNED, Speaker, Update, environment, source, systemctl


@pytest.fixture(scope="session")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the version 0.1.0 in it, made once."""
    folder = tmp_path_factory.mktemp("first")
    files = source(folder / "source", "0.1.0")
    subprocess.run(
        [str(files / "make-environment"), str(files), str(folder / "0.1.0")],
        check=True,
        env={"EARMARK_PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )
    return folder / "0.1.0"


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where releases are kept that several tests use."""
    return tmp_path_factory.mktemp("releases")


@pytest.fixture
def speaker(
    tmp_path: Path, first_version: Path, releases: Path, monkeypatch: pytest.MonkeyPatch
) -> Speaker:
    folder = tmp_path / "opt"
    folder.mkdir()
    shutil.copytree(first_version, folder / "0.1.0", symlinks=True)
    (folder / "current").symlink_to("0.1.0")
    tools = tmp_path / "tools"
    tools.mkdir()
    systemctl(tools)
    settings = tmp_path / "earmark.toml"
    settings.write_text(
        f'home = "{tmp_path}/home"\n[update]\nfolder = "{folder}"\nkeys = ["{PINNED}"]\n'
    )
    made = Speaker(folder, settings, tmp_path / "restarts", releases)
    for name, value in environment(made, tools).items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def update(speaker: Speaker, capsys: pytest.CaptureFixture[str]) -> Update:
    """Run ``earmark update`` on the speaker; return its exit code, output and messages."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main.main(["update", "--config", str(speaker.settings), *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run
