"""Install a real Home Assistant from PyPI into a folder.

It needs the Python of its time: one of this computer, or, for a Python that no Debian release has
yet, that of a Debian testing in a folder (root, mmdebstrap).
"""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Release:
    """A version of Home Assistant, and the Python that it needs."""

    version: str
    python: tuple[int, int]
    debian: str | None = None
    """Release of Debian that has this Python, used where this computer has none."""
    has_default_integrations: bool = False
    """Whether it sets up integrations that no configuration names."""

    @property
    def python_text(self) -> str:
        """Return the version of Python, such as ``3.12``."""
        return ".".join(map(str, self.python))


RELEASES: Final[Mapping[str, Release]] = {
    "2025.1": Release("2025.1.4", (3, 12)),
    "2026.11": Release("2026.11.0", (3, 14), "forky", has_default_integrations=True),
}
"""By the name that the command line takes. The first is the default."""
_UV: Final = "uv==0.13.9"
# Set up by the configuration, or by the tests through its interface. Home Assistant's wheel does
# not name what its integrations need: their manifests do.
_INTEGRATIONS: Final = (
    *("analytics", "api", "assist_pipeline", "auth", "automation", "backup", "blueprint", "config"),
    *("conversation", "device_automation", "diagnostics", "file_upload", "frontend", "hardware"),
    *("hassio", "input_boolean"),  # analytics imports hassio, which its manifest does not name
    *("mqtt", "onboarding", "person", "recorder", "scene", "script", "system_health", "tag", "tts"),
    *("websocket_api", "wyoming", "zone"),
)
_UNNAMED: Final = "zeroconf"
"""Imported by an integration whose manifest does not name it."""
_DEFAULTS: Final = """
import json
from homeassistant.bootstrap import DEFAULT_INTEGRATIONS
print(json.dumps(sorted(DEFAULT_INTEGRATIONS)))
"""
_DEBIAN_PACKAGES: Final = ("ca-certificates", "g++", "python3", "python3-dev", "python3-venv")
"""Two requirements have no wheel for a Python this new, and are compiled."""
_ENTER: Final = """
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
for folder in "$1" "$2"; do
    mkdir -p "$0$folder"
    mount --bind "$folder" "$0$folder"
done
shift 2
exec chroot "$0" "$@"
"""
"""In a mount namespace of its own: two folders at their own paths in the other root file system."""


def install(folder: Path, release: Release) -> Path:
    """Install Home Assistant unless it is there; return the program ``hass``.

    Args:
        folder: absolute path, for the virtual environment.
        release: the version.

    Raises:
        Unavailable: its Python is missing, or PyPI cannot be reached.
    """
    program = folder / "hass"
    ready = folder / f"ready-{release.version}"
    if ready.exists():
        return program
    place = _find_place(folder, release)
    for old in (*folder.glob("ready-*"), folder / "venv"):
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / "venv" / "bin" / "python"
    pip = [*place.prefix, str(own), "-m", "pip", "--disable-pip-version-check"]
    _run([*place.prefix, str(place.python), "-m", "venv", str(folder / "venv")], release)
    _run([*pip, "install", "--quiet", _UV], release)
    wheels = folder / "wheels"
    named = f"homeassistant=={release.version}"
    _run([*pip, "download", "--quiet", "--no-deps", "-d", str(wheels), named], release)
    (wheel,) = wheels.glob(f"homeassistant-{release.version}-*.whl")
    uv = [*place.prefix, str(own.with_name("uv")), "pip", "install", "--quiet"]
    uv += ["--python", str(own), "--constraint", str(folder / "constraints.txt")]
    with zipfile.ZipFile(wheel) as archive:
        # Without these constraints pip tries versions for hours.
        constraints = archive.read("homeassistant/package_constraints.txt")
        (folder / "constraints.txt").write_bytes(constraints)
        _run([*uv, _UNNAMED, *sorted(_requirements(archive, _INTEGRATIONS)), str(wheel)], release)
        if release.has_default_integrations:
            words = [*place.prefix, str(own), "-c", _DEFAULTS]
            listed = subprocess.run(words, capture_output=True, check=True).stdout
            _run([*uv, *sorted(_requirements(archive, tuple(json.loads(listed))))], release)
    _write_program(program, [*place.prefix, str(own.with_name("hass"))])
    ready.touch()
    return program


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a Python is: its path, and the words that lead into its root file system."""

    python: Path
    prefix: tuple[str, ...] = ()


def _find_place(folder: Path, release: Release) -> _Place:
    try:
        return _Place(find_python(release))
    except Unavailable:
        if release.debian is None or os.geteuid() != 0 or "PYTHON" + _digits(release) in os.environ:
            raise
    root = folder / "root"
    note = folder / "root.packages"
    include = f"--include={','.join(_DEBIAN_PACKAGES)}"
    if not note.exists() or note.read_text("ascii") != include:
        shutil.rmtree(root, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        # The signed index of testing is valid for a week, and a mirror may be older.
        options = folder / "apt.conf"
        options.write_text('Acquire::Check-Valid-Until "false";\n')
        words = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", include]
        _run([*words, f"--aptopt={options}", release.debian, str(root)], release)
        for name in ("etc/hosts", "etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
            if (own := Path("/") / name).exists():
                shutil.copyfile(own, root / name)
        note.write_text(include, "ascii")
    enter = ("unshare", "--mount", "sh", "-e", "-c", _ENTER, str(root))
    return _Place(Path("/usr/bin/python3"), (*enter, str(folder), tempfile.gettempdir()))


def _write_program(path: Path, words: list[str]) -> None:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)


def find_python(release: Release) -> Path:
    """Return a Python for a release: that of ``PYTHON312``, of ``PATH``, of pyenv or of uv.

    Raises:
        Unavailable: there is none.
    """
    for candidate in _candidates(release):
        done = subprocess.run(
            [candidate, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and done.stdout.split() == list(map(str, release.python)):
            return candidate
    text = release.python_text
    raise Unavailable(
        f"Home Assistant {release.version} needs Python {text} with venv, and there is none",
        f"install it, for example with pyenv install {text}, or name it:"
        f" make home-assistant PYTHON{_digits(release)}=/path/to/python{text}",
    )


def _digits(release: Release) -> str:
    return "".join(map(str, release.python))


def _candidates(release: Release) -> Iterator[Path]:
    text = release.python_text
    named = os.environ.get(f"PYTHON{_digits(release)}")
    if named:
        yield Path(named)
        return
    found = shutil.which(f"python{text}")
    if found is not None:
        yield Path(found)
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local" / "share" / "uv" / "python"))
    yield from sorted(pyenv.glob(f"versions/{text}.*/bin/python{text}"), reverse=True)
    yield from sorted(uv.glob(f"cpython-{text}.*/bin/python{text}"), reverse=True)


def _requirements(wheel: zipfile.ZipFile, integrations: tuple[str, ...]) -> set[str]:
    """Return what integrations and those that they depend on require."""
    todo, seen = list(integrations), set[str]()
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


def _run(words: list[str], release: Release) -> None:
    try:
        subprocess.run(words, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(
            f"Home Assistant {release.version} could not be installed",
            "check that PyPI can be reached and that mmdebstrap is installed, and see the messages"
            " above",
        ) from error
