"""Make what a machine is started from, in build/; what is there and still right stays."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import soundfile

from tests.vm.machine import Built

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = ROOT / "build"
RECIPE: Final = ROOT / "firmware" / "vm"
IMAGE: Final = ROOT / "firmware" / "image"
GUEST: Final = ROOT / "tests" / "vm" / "guest"
RECORDING: Final = ROOT / "tests" / "fixtures" / "alexa_twice.flac"
SAID: Final = (29_920, 75_920)
"""Where the recording has "Alexa, set a timer for ten minutes", in samples."""
MODULES: Final = ("virtio_pci", "virtio_blk", "ext4", "overlay")


def build() -> Built:
    """Return kernel, initrd and root; takes about two minutes the first time."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "vm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build()


def _build() -> Built:
    rootfs = BUILD / "vm-rootfs.tar"
    packages = RECIPE / "packages"
    if _is_stale(rootfs, [packages, IMAGE / "rootfs"]):
        _say("Debian's root file system, once")
        _run(IMAGE / "rootfs", "amd64", packages, rootfs)
        _mark(rootfs, [packages, IMAGE / "rootfs"])
    deb = _deb()
    root, disk, initrd = BUILD / "vm-root", BUILD / "vm-root.ext4", BUILD / "vm-initrd"
    sources = [rootfs.with_suffix(".inputs"), deb, *_files(RECIPE), *_files(GUEST)]
    sources += [RECORDING, IMAGE / "init", IMAGE / "initrd"]
    if _is_stale(disk, sources):
        _say("the package, a household and its speaker, installed")
        _run(RECIPE / "root", rootfs, deb, GUEST, root)
        _write_sound(root / "usr/lib/earmark-vm/word.raw")
        shutil.copy2(next((root / "boot").glob("vmlinuz-*")), BUILD / "vm-kernel")
        _run(IMAGE / "initrd", root, "/bin/busybox", IMAGE / "init", initrd, *MODULES)
        disk.unlink(missing_ok=True)
        _run("mke2fs", "-q", "-t", "ext4", "-L", "ROOT", "-d", root, disk, "1200M")
        shutil.rmtree(root)
        _mark(disk, sources)
    return existing()


def existing() -> Built:
    """Return what was built last."""
    return Built(
        kernel=BUILD / "vm-kernel", initrd=BUILD / "vm-initrd", root=BUILD / "vm-root.ext4"
    )


def _deb() -> Path:
    """Build the package; the same sources give the same bytes."""
    into = BUILD / "vm-deb"
    _run(sys.executable, "-m", "firmware.deb", "amd64", "--into", into)
    return max(into.glob("earmark_*_amd64.deb"), key=lambda path: path.stat().st_mtime)


def _write_sound(path: Path) -> None:
    """Cut the word and what follows it out of the recording, as the card takes it."""
    samples, _ = soundfile.read(RECORDING, start=SAID[0], stop=SAID[1], dtype="int16")
    path.write_bytes(samples.tobytes())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _is_stale(made: Path, sources: Iterable[Path]) -> bool:
    marked = made.with_suffix(".inputs")
    return not (made.exists() and marked.exists() and marked.read_text() == _digest(sources))


def _mark(made: Path, sources: Iterable[Path]) -> None:
    made.with_suffix(".inputs").write_text(_digest(sources))


def _digest(sources: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0" + hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


def _run(*words: object) -> None:
    with (BUILD / "vm.log").open("w") as log:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        sys.exit(f"build: {words[0]} failed:\n{(BUILD / 'vm.log').read_text()[-2000:]}")


def _say(text: str) -> None:
    print(f"build: {text}", file=sys.stderr, flush=True)
