"""``make image``: a card's image for Raspberry Pi 3, 4 and Zero 2 W, from Debian packages alone.

Stages, each in build/ and made again only where what it is made of has changed: Debian's root file
system, our package in it, the card. The last stage gives the same bytes from the same inputs, and
``--twice`` shows it. Needs root, mmdebstrap, qemu-user-static, binfmt-support and arch-test.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from firmware.deb.__main__ import version
from firmware.image import sbom

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
BUILD: Final = ROOT / "build"
STAGE: Final = BUILD / "image"
DIST: Final = ROOT / "dist"
MIRROR: Final = "http://deb.debian.org/debian"
SNAPSHOT: Final = "http://snapshot.debian.org/archive/debian"
PRUNED: Final = (
    "gpu",
    "media",
    "infiniband",
    "scsi",
    "net/ethernet/mellanox",
    "net/ethernet/intel",
)
"""Drivers of the kernel that none of the three boards has a use for."""


def main(words: Sequence[str] | None = None) -> int:
    """Build; print what was written and its digests."""
    parser = argparse.ArgumentParser(prog="python -m firmware.image", description=__doc__)
    parser.add_argument("--snapshot", metavar="DAY", help="Debian of that day, 20261122T000000Z")
    parser.add_argument("--mirror", help=f"where Debian comes from (default: {MIRROR})")
    parser.add_argument("--twice", action="store_true", help="assemble twice, and compare")
    arguments = parser.parse_args(words)
    if arguments.snapshot and arguments.mirror:
        parser.error("a snapshot is a mirror of its own")
    mirror = arguments.mirror or MIRROR
    if arguments.snapshot:
        mirror = f"{SNAPSHOT}/{arguments.snapshot}"
    STAGE.mkdir(parents=True, exist_ok=True)
    with (STAGE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(mirror, is_twice=arguments.twice)


def _build(mirror: str, *, is_twice: bool) -> int:
    date_s = _date_s()
    given = {"MIRROR": mirror, "SOURCE_DATE_EPOCH": str(date_s)}
    tools = _debian("amd64", "tools", BUILD / "image-tools.tar", given)
    pruned = [
        f"--dpkgopt=path-exclude=/usr/lib/modules/*/kernel/drivers/{name}/*" for name in PRUNED
    ]
    rootfs = _debian("arm64", "packages", BUILD / "image-rootfs.tar", given, pruned)
    _run(sys.executable, "-m", "firmware.deb", "arm64", "--into", STAGE)
    deb = STAGE / f"earmark_{version()}_arm64.deb"
    sources = [rootfs.with_suffix(".inputs"), tools.with_suffix(".inputs"), deb, *_recipe()]
    if _is_stale(STAGE / "root.tar", sources, given):
        _say("the package in it; some minutes, since another machine's programs run")
        parts = STAGE / "root.tar", STAGE / "state.tar", STAGE / "boot"
        _run(HERE / "system", rootfs, deb, *parts, TOOLS=str(tools), **given)
        _mark(STAGE / "root.tar", sources, given)
    image = _assemble(tools, given)
    if is_twice:
        first = _digest(image)
        second = _digest(_assemble(tools, given))
        _say(f"assembled twice: {first} and {second}")
        if first != second:
            return 1
    return _deliver(image, date_s)


def _debian(
    architecture: str, packages: str, tar: Path, given: Mapping[str, str], more: Sequence[str] = ()
) -> Path:
    sources = [HERE / "rootfs", HERE / packages]
    if _is_stale(tar, sources, given):
        _say(f"Debian for {architecture}: {packages}; for another machine ten minutes and more")
        _run(HERE / "rootfs", architecture, HERE / packages, tar, *more, **given)
        _mark(tar, sources, given)
    return tar


def _assemble(tools: Path, given: Mapping[str, str]) -> Path:
    shutil.copy2(HERE / "assemble", STAGE / "assemble")
    _run(HERE / "in-tools", tools, STAGE, "/mnt/assemble", "/mnt", **given)
    return STAGE / "disk.img"


def _deliver(image: Path, date_s: int) -> int:
    DIST.mkdir(exist_ok=True)
    name = f"earmark-{version()}-pi3-pi4-zero2w"
    packed, bill = DIST / f"{name}.img.zst", DIST / f"{name}.cdx.json"
    _run("zstd", "-q", "-f", "-10", "-T0", image, "-o", packed)
    components = [*sbom.debian(_status()), *sbom.python(_metadata())]
    bill.write_text(sbom.document(name, version(), components, date_s) + "\n", "utf-8")
    shutil.copyfile(HERE / "README.md", DIST / f"{name}.README.md")
    sums = [f"{_digest(path)}  {path.name}\n" for path in (packed, bill)]
    sums.append(f"{_digest(image)}  {name}.img\n")
    (DIST / f"{name}.SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")
    print(f"{len(components)} components, {packed.stat().st_size / 1e6:.0f} MB")
    return 0


def _status() -> str:
    with tarfile.open(STAGE / "root.tar") as tar:
        found = tar.extractfile("./var/lib/dpkg/status")
        return found.read().decode() if found else ""


def _metadata() -> Iterator[str]:
    with tarfile.open(STAGE / "state.tar") as tar:
        for member in tar:
            if member.name.endswith(".dist-info/METADATA") and (found := tar.extractfile(member)):
                yield found.read().decode("utf-8", "replace")


def _recipe() -> list[Path]:
    names = [HERE / name for name in ("system", "set-up", "init", "initrd", "in-tools")]
    return names + sorted(
        path for part in ("files", "boot") for path in (HERE / part).rglob("*") if path.is_file()
    )


def _date_s() -> int:
    """Return SOURCE_DATE_EPOCH, or the last commit's time, or that of the last release."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct", "--", "firmware/image"],  # noqa: S607 - any git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return int(done.stdout or 1_795_305_600)


def _is_stale(made: Path, sources: Iterable[Path], given: Mapping[str, str]) -> bool:
    marked = made.with_suffix(".inputs")
    return not (made.exists() and marked.exists() and marked.read_text() == _key(sources, given))


def _mark(made: Path, sources: Iterable[Path], given: Mapping[str, str]) -> None:
    made.with_suffix(".inputs").write_text(_key(sources, given))


def _key(sources: Iterable[Path], given: Mapping[str, str]) -> str:
    digest = hashlib.sha256(given["MIRROR"].encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + bytes.fromhex(_digest(source)))
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(*words: object, **given: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [str(word) for word in words],
        cwd=ROOT,
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"image: {words[0]} failed:\n{done.stdout.decode(errors='replace')[-3000:]}")


def _say(text: str) -> None:
    print(f"image: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
