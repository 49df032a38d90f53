"""Lets hear, whose files Landlock restricts, write what coverage measured in tests.

On ``PYTHONPATH`` of every process that a measured run of the tests starts; see ``conftest.py``. The
folder of the coverage data is added to what the process may change, and nothing else. Only
processes that a test started are wrapped: pytest's own workers test the unchanged function.
"""

import functools
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_MODULE = "listener.hear.landlock"
_FOLDER = Path(os.environ.get("EARMARK_COVERAGE_FOLDER", ""))


class LandlockHook:
    """Finder that wraps ``paths_for`` when its module is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the module's own spec, with a loader that wraps the function."""
        del path, target
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader: Any = None if spec is None else spec.loader
        if loader is None:
            return spec
        load = loader.exec_module

        def load_and_wrap(module: ModuleType) -> None:
            load(module)
            wrapped = functools.partial(add_folder, vars(module)["paths_for"])
            vars(module)["paths_for"] = wrapped

        loader.exec_module = load_and_wrap
        return spec


def add_folder(
    paths_for: Any,  # noqa: ANN401 - the function is known once its module is loaded
    home: Path,
    environ: object,
    *,
    change: tuple[Path, ...] = (),
    **others: object,
) -> object:
    """Call ``paths_for`` with the folder of the coverage data added."""
    return paths_for(home, environ, change=(*change, _FOLDER), **others)


if _FOLDER.is_absolute() and "PYTEST_CURRENT_TEST" in os.environ:
    sys.meta_path.insert(0, LandlockHook())
