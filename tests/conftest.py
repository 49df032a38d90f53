"""Fixtures that more than one folder of tests uses."""

import os
from pathlib import Path

import pytest

RECORDINGS = "EARMARK_RECORDINGS"
ROOT = Path(__file__).resolve().parents[1]
absent = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[absent] = []


def _folder() -> Path | None:
    named = os.environ.get(RECORDINGS)
    folder = Path(named) if named else ROOT.parent / "shared" / "audio"
    return folder if (folder / "manifest.json").is_file() else None


@pytest.fixture(scope="session")
def recordings_folder() -> Path | None:
    return _folder()


@pytest.fixture
def recordings(recordings_folder: Path | None, request: pytest.FixtureRequest) -> Path:
    """The folder of real recordings with its manifest.json."""
    if recordings_folder is None:
        request.config.stash[absent].append(request.node.nodeid)
        pytest.skip(f"no real recordings: set {RECORDINGS} to their folder")
    return recordings_folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty folder for one installation."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say loudly what was not proven."""
    missing = config.stash[absent]
    if missing:
        terminalreporter.section("NOT PROVEN HERE: real recordings are absent", red=True)
        for nodeid in missing:
            terminalreporter.line(nodeid)
        terminalreporter.line(f"set {RECORDINGS} to a folder of recordings with a manifest.json")
