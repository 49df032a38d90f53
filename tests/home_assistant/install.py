"""Install a real Home Assistant from PyPI into a folder, with a Python 3.12 of this computer."""

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import Unavailable

VERSION: Final = "2025.1.4"
"""Version of Home Assistant; the last of January 2025, for Python 3.12."""
_UV: Final = "uv==0.13.9"
_PYTHON: Final = (3, 12)
# Set up by the configuration, or by the tests through its interface. Home Assistant's wheel does
# not name what its integrations need: their manifests do.
_INTEGRATIONS: Final = (
    *("analytics", "api", "assist_pipeline", "auth", "automation", "backup", "blueprint", "config"),
    *("conversation", "device_automation", "diagnostics", "file_upload", "frontend", "hardware"),
    "input_boolean",
    *("mqtt", "onboarding", "person", "recorder", "scene", "script", "system_health", "tag", "tts"),
    *("websocket_api", "wyoming", "zone"),
)
_UNNAMED: Final = "zeroconf"
"""Imported by an integration whose manifest does not name it."""


def install(folder: Path) -> Path:
    """Install Home Assistant unless it is there; return the program ``hass``.

    Args:
        folder: for the virtual environment.

    Raises:
        Unavailable: there is no Python 3.12, or PyPI cannot be reached.
    """
    program = folder / "venv" / "bin" / "hass"
    ready = folder / f"ready-{VERSION}"
    if ready.exists():
        return program
    python = find_python()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own = folder / "venv" / "bin" / "python"
    pip = [str(own), "-m", "pip", "--disable-pip-version-check"]
    _run([str(python), "-m", "venv", str(folder / "venv")])
    _run([*pip, "install", "--quiet", _UV])
    wheels = folder / "wheels"
    _run([*pip, "download", "--quiet", "--no-deps", "-d", str(wheels), f"homeassistant=={VERSION}"])
    (wheel,) = wheels.glob("homeassistant-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        # Without these constraints pip tries versions for hours.
        constraints = archive.read("homeassistant/package_constraints.txt")
        requirements = "\n".join(sorted({_UNNAMED, *_requirements(archive)}))
    (folder / "constraints.txt").write_bytes(constraints)
    (folder / "requirements.txt").write_text(requirements)
    uv = [str(own.with_name("uv")), "pip", "install", "--quiet", "--python", str(own)]
    files = ("--constraint", "constraints.txt", "--requirement", "requirements.txt", str(wheel))
    _run([*uv, *files], folder)
    ready.touch()
    return program


def find_python() -> Path:
    """Return a Python 3.12: that of ``PYTHON312``, of ``PATH``, of pyenv or of uv.

    Raises:
        Unavailable: there is none.
    """
    for candidate in _candidates():
        done = subprocess.run(
            [candidate, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and done.stdout.split() == list(map(str, _PYTHON)):
            return candidate
    raise Unavailable(
        f"Home Assistant {VERSION} needs Python 3.12 with venv, and there is none",
        "install it, for example with pyenv install 3.12, or name it:"
        " make home-assistant PYTHON312=/path/to/python3.12",
    )


def _candidates() -> Iterator[Path]:
    named = os.environ.get("PYTHON312")
    if named:
        yield Path(named)
        return
    found = shutil.which("python3.12")
    if found is not None:
        yield Path(found)
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local" / "share" / "uv" / "python"))
    yield from sorted(pyenv.glob("versions/3.12.*/bin/python3.12"), reverse=True)
    yield from sorted(uv.glob("cpython-3.12.*/bin/python3.12"), reverse=True)


def _requirements(wheel: zipfile.ZipFile) -> set[str]:
    """Return what the integrations and those that they depend on require."""
    todo, seen = list(_INTEGRATIONS), set[str]()
    requirements: set[str] = set()
    while todo:
        name = todo.pop()
        path = f"homeassistant/components/{name}/manifest.json"
        if name in seen or path not in wheel.namelist():
            continue
        seen.add(name)
        manifest = json.loads(wheel.read(path))
        requirements |= set(manifest.get("requirements", []))
        todo += manifest.get("dependencies", [])
    return requirements


def _run(words: list[str], folder: Path | None = None) -> None:
    try:
        subprocess.run(words, check=True, cwd=folder)
    except subprocess.CalledProcessError as error:
        raise Unavailable(
            f"Home Assistant {VERSION} could not be installed",
            "check that PyPI can be reached, and see the messages above",
        ) from error
