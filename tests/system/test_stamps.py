"""The benchmarks' commands that stamp their stages: what they replace must be in use."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from benchmarks.sounds import ROOT
from benchmarks.stage_times import substitute

MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("stamped_*.py"))


def test_a_name_that_a_module_does_not_use_is_not_replaced() -> None:
    module = types.ModuleType("earlier")
    with pytest.raises(AttributeError, match="Recorder"):
        substitute(module, "Recorder", object)
    assert not hasattr(module, "Recorder")


def test_there_are_stamped_commands() -> None:
    assert {"stamped_assist", "stamped_hear"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_stamped_commands_find_what_they_replace(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{module}", str(tmp_path / "stamps"), "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "earmark" in done.stdout
