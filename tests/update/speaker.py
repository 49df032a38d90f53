"""A speaker with tiny versions of the program: real environments, made by the real maker."""

import base64
import ensurepip
import hashlib
import os
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.release.file import Part, ReleaseManifest
from listener.update import package

ROOT = Path(__file__).resolve().parents[2]
MAKER = ROOT / "firmware" / "deb" / "lib" / "make-environment"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PINNED = keys.device_text(KEY.public_key())
NOBODY = Part(name="make-environment", bytes=1, sha256="0" * 64)

# What every version answers; how it hears is the word in HOW, or what the test says meanwhile in
# the file that EARMARK_TEST_HEAR names.
_PROGRAM = """\
import json, os, sys, time
VERSION, HOW = {version!r}, {how!r}

def main():
    verb = sys.argv[1]
    if HOW == "broken":
        sys.exit("cannot start")
    if verb == "--version":
        print("earmark", VERSION if HOW != "another" else "9.9.9")
    elif verb == "score":
        if HOW == "deaf":
            sys.exit(1)
        print(json.dumps({{"scores": {{"alexa": 0.5}}}}))
    elif verb == "monitor":
        heard = 0
        while True:
            heard += 16000 if HOW == "scores" else 0
            line = {{"hearing": HOW != "silent", "counters": {{"heard_samples": heard}}}}
            line["mute"] = "hardware" if HOW == "muted" else "open"
            if HOW == "garbled":
                print("no line of ours")
            print(json.dumps(line), flush=True)
            time.sleep(0.02)
"""


def wheel(folder: Path, version: str, how: str) -> Path:
    """Write a wheel of a tiny program; the same words give the same bytes."""
    info = f"earmark-{version}.dist-info"
    files = {
        "earmark_tiny.py": _PROGRAM.format(version=version, how=how),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: earmark\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nearmark = earmark_tiny:main\n",
    }
    record = "".join(f"{name},{_digest(text)},{len(text)}\n" for name, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    path = folder / f"earmark-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as out:
        for name, text in files.items():
            out.writestr(zipfile.ZipInfo(name), text)
    return path


def source(folder: Path, version: str, how: str = "scores") -> Path:
    """Make what a release is packed of."""
    (folder / "wheels").mkdir(parents=True)
    (folder / "lock").mkdir()
    made = wheel(folder / "wheels", version, how)
    [pip] = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(pip, folder / "wheels")
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    lock = f"earmark=={version} --hash=sha256:{digest}\n"
    (folder / "lock" / f"{PYTHON}-{platform.machine()}.txt").write_text(lock)
    (folder / "lock" / f"{PYTHON}-elsewhere.txt").write_text("not of this machine\n")
    (folder / "overlays").mkdir()
    (folder / "overlays" / "x.dtbo").write_text("of the package, not of a release\n")
    shutil.copy(MAKER, folder / "make-environment")
    (folder / "make-environment").chmod(0o755)
    return folder


def release(folder: Path, version: str, how: str = "scores", **fields: object) -> Path:
    """Make a signed release of a tiny version."""
    path = folder / f"earmark-{version}-{how}.release"
    if path.exists():
        return path
    given: dict[str, Any] = {
        "version": version,
        "least": "0.1.0",
        "machine": platform.machine(),
        "pythons": (PYTHON,),
        "summary": "tiny",
        "parts": (NOBODY,),
    }
    manifest = ReleaseManifest(**(given | fields))
    package.pack_release(source(folder / f"{version}-{how}", version, how), path, KEY, manifest)
    return path


@dataclass(frozen=True, slots=True)
class Speaker:
    """A folder of versions, of which 0.1.0 runs, and settings that trust the release key."""

    folder: Path
    settings: Path
    restarts: Path
    releases: Path

    @property
    def current(self) -> str:
        return (self.folder / "current").readlink().name

    @property
    def versions(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if path.name[0].isdigit()}

    def restarted(self) -> list[str]:
        """Which version ran after each restart."""
        return self.restarts.read_text().split() if self.restarts.exists() else []

    def release(self, version: str, how: str = "scores", **fields: object) -> Path:
        return release(self.releases, version, how, **fields)


Update = Callable[..., tuple[int, str, str]]


def systemctl(folder: Path) -> None:
    """Put a systemctl into a folder that notes what would run after a restart."""
    script = folder / "systemctl"
    script.write_text(
        "#!/bin/sh\n"
        '[ "$1" = try-restart ] || exit 9\n'
        'basename "$(readlink "$EARMARK_TEST_FOLDER/current")" >>"$EARMARK_TEST_RESTARTS"\n'
        '[ ! -e "$EARMARK_TEST_RESTARTS.fails" ]\n'
    )
    script.chmod(0o755)


def environment(speaker: Speaker, tools: Path) -> dict[str, str]:
    """Return what a process needs that updates this speaker."""
    return {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "EARMARK_PYTHON": sys.executable,
        "EARMARK_TEST_FOLDER": str(speaker.folder),
        "EARMARK_TEST_RESTARTS": str(speaker.restarts),
    }


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(raw).decode().rstrip("=")
