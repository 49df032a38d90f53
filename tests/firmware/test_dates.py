import os
import subprocess
from pathlib import Path

import pytest

from firmware.dates import LEAST_DATE_S, source_date_s
from firmware.programs import BuildError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files, each of its own commit."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    for name, time_s in (("one", 1_700_000_000), ("two", 1_700_000_500)):
        (tmp_path / name).write_text(name)
        when = {"GIT_AUTHOR_DATE": f"{time_s} +0000", "GIT_COMMITTER_DATE": f"{time_s} +0000"}
        whose = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        for words in (["add", name], [*whose, "commit", "--quiet", "-m", name]):
            subprocess.run(["git", "-C", str(tmp_path), *words], check=True, env=os.environ | when)
    return tmp_path


def test_date_can_be_set_and_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert source_date_s() == 1_700_000_000

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert source_date_s() == LEAST_DATE_S

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(BuildError, match="not a number"):
        source_date_s()


def test_date_is_that_of_the_last_commit_to_the_paths(
    repository: Path,
) -> None:
    assert source_date_s(root=repository) == 1_700_000_500
    assert source_date_s(repository / "one", root=repository) == 1_700_000_000


def test_date_without_git_is_that_of_pyproject_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "pyproject.toml").touch()
    os.utime(tmp_path / "pyproject.toml", (1_600_000_000, 1_600_000_000))

    assert source_date_s(root=tmp_path) == 1_600_000_000
