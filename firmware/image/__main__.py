"""``make image``: build the card's image for Raspberry Pi 3, 4 and Zero 2 W from Debian packages.

Three stages, cached in build/ and built again when an input changes: Debian's root file system, the
Earmark package in it, the card. Each gives the same bytes from the same inputs; ``--again`` checks
it for one stage and those after it. Needs root, mmdebstrap, qemu-user-static, binfmt-support
and arch-test.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cyclonedx.model.component import ComponentType

from firmware.dates import source_date_s
from firmware.deb.__main__ import version
from firmware.image import stages
from firmware.sbom import components, document

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
BUILD: Final = ROOT / "build"
STAGE: Final = BUILD / "image"
DIST: Final = ROOT / "dist"
TOOLS: Final = BUILD / "image-tools.tar"
ROOTFS: Final = BUILD / "image-rootfs.tar"
ROOT_TAR: Final = STAGE / "root.tar"
STATE_TAR: Final = STAGE / "state.tar"
DISK: Final = STAGE / "disk.img"
MADE: Final = {"debian": (TOOLS, ROOTFS), "package": (ROOT_TAR, STATE_TAR), "card": (DISK,)}
"""Files of each stage; each stage is built from those before it."""
DEBIAN_RECIPE: Final = tuple(HERE / name for name in ("rootfs", "packages", "tools"))
MIRROR: Final = "http://deb.debian.org/debian"
SECURITY: Final = "http://deb.debian.org/debian-security"
SNAPSHOT: Final = "http://snapshot.debian.org/archive"
PRUNED: Final = (
    "gpu",
    "media",
    "infiniband",
    "scsi",
    "net/ethernet/mellanox",
    "net/ethernet/intel",
)
"""Kernel drivers for hardware that none of the three boards has."""


def main(words: Sequence[str] | None = None) -> int:
    """Build the image; print the files and their digests."""
    parser = argparse.ArgumentParser(prog="python -m firmware.image", description=__doc__)
    parser.add_argument(
        "--snapshot",
        metavar="TIMESTAMP",
        type=stages.snapshot,
        help="Debian of that time, such as 20261122T000000Z, from snapshot.debian.org",
    )
    parser.add_argument(
        "--mirror",
        help=f"mirror of Debian, except the security archive (default: {MIRROR})",
    )
    parser.add_argument(
        "--again",
        choices=MADE,
        metavar="STAGE",
        help=f"build this stage and those after it again, and compare ({', '.join(MADE)})",
    )
    arguments = parser.parse_args(words)
    if arguments.snapshot and arguments.mirror:
        parser.error("--snapshot and --mirror exclude each other")
    debian = {"MIRROR": arguments.mirror or MIRROR, "SECURITY": SECURITY}
    if timestamp := arguments.snapshot:
        names = {"MIRROR": "debian", "SECURITY": "debian-security"}
        debian = {what: f"{SNAPSHOT}/{name}/{timestamp}" for what, name in names.items()}
    STAGE.mkdir(parents=True, exist_ok=True)
    with (STAGE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Built once: its date is that of the last commit, which can change during the build.
        _run(sys.executable, "-m", "firmware.deb", "arm64", "--into", STAGE)
        date_s = _build(debian)
        if arguments.again and not _is_reproducible(debian, arguments.again):
            return 1
        return _deliver(date_s)


def _build(debian: Mapping[str, str]) -> int:
    """Build missing and stale stages; return the newest timestamp of the card, in s since 1970."""
    recipe = _recipe()
    date_s = source_date_s(*recipe, HERE / "assemble", *DEBIAN_RECIPE)
    given = {**debian, "SOURCE_DATE_EPOCH": str(date_s)}
    pruned = [
        f"--dpkgopt=path-exclude=/usr/lib/modules/*/kernel/drivers/{name}/*" for name in PRUNED
    ]
    _debian("amd64", "tools", TOOLS, debian)
    _debian("arm64", "packages", ROOTFS, debian, pruned)
    deb = STAGE / f"earmark_{version()}_arm64.deb"
    sources = [ROOTFS.with_suffix(".inputs"), TOOLS.with_suffix(".inputs"), deb, *recipe]
    if stages.is_stale(ROOT_TAR, sources, given):
        _report("installing the package under emulation; takes some minutes")
        parts = ROOT_TAR, STATE_TAR, STAGE / "boot"
        _run(HERE / "system", ROOTFS, deb, *parts, TOOLS=str(TOOLS), **given)
        stages.mark(ROOT_TAR, sources, given)
    _assemble(given)
    return date_s


def _is_reproducible(debian: Mapping[str, str], first: str) -> bool:
    """Build a stage and those after it again; return whether every file has the same bytes."""
    names = list(MADE)
    paths = [path for name in names[names.index(first) :] for path in MADE[name]]
    before = {path: stages.digest(path) for path in paths}
    for path in paths:
        stages.forget(path)
    _build(debian)
    after = {path: stages.digest(path) for path in paths}
    for path in paths:
        _report(f"built twice: {path.name} {before[path][:16]} and {after[path][:16]}")
    return before == after


def _debian(
    architecture: str,
    packages: str,
    tar: Path,
    debian: Mapping[str, str],
    more: Sequence[str] = (),
) -> None:
    sources = [HERE / "rootfs", HERE / packages]
    # The date of its own recipe: it takes ten minutes and changes less often than the image.
    given = {**debian, "SOURCE_DATE_EPOCH": str(source_date_s(*DEBIAN_RECIPE))}
    if stages.is_stale(tar, sources, given, more):
        _report(f"Debian for {architecture}: {packages}; under emulation ten minutes or more")
        _run(HERE / "rootfs", architecture, HERE / packages, tar, *more, **given)
        stages.mark(tar, sources, given, more)


def _assemble(given: Mapping[str, str]) -> None:
    shutil.copy2(HERE / "assemble", STAGE / "assemble")
    _run(HERE / "in-tools", TOOLS, STAGE, "/mnt/assemble", "/mnt", **given)


def _deliver(date_s: int) -> int:
    DIST.mkdir(exist_ok=True)
    name = f"earmark-{version()}-pi3-pi4-zero2w"
    packed, bill = DIST / f"{name}.img.zst", DIST / f"{name}.cdx.json"
    _run("zstd", "-q", "-f", "-10", "-T0", DISK, "-o", packed)
    listed = [*components.debian(_status()), *components.python(_metadata())]
    image = components.subject(ComponentType.FIRMWARE, name, version())
    bill.write_text(document.render(image, listed, date_s), "utf-8")
    shutil.copyfile(HERE / "README.md", DIST / f"{name}.README.md")
    sums = [f"{stages.digest(path)}  {path.name}\n" for path in (packed, bill)]
    sums.append(f"{stages.digest(DISK)}  {name}.img\n")
    (DIST / f"{name}.SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")
    print(f"{len(listed)} components, {packed.stat().st_size / 1e6:.0f} MB")
    return 0


def _status() -> str:
    with tarfile.open(ROOT_TAR) as tar:
        found = tar.extractfile("./var/lib/dpkg/status")
        return found.read().decode() if found else ""


def _metadata() -> Iterator[str]:
    with tarfile.open(STATE_TAR) as tar:
        for member in tar:
            if member.name.endswith(".dist-info/METADATA") and (found := tar.extractfile(member)):
                yield found.read().decode("utf-8", "replace")


def _recipe() -> list[Path]:
    names = [HERE / name for name in ("system", "set-up", "init", "initrd", "in-tools")]
    return names + sorted(
        path for part in ("files", "boot") for path in (HERE / part).rglob("*") if path.is_file()
    )


def _run(*words: object, **given: str) -> None:
    done = subprocess.run(  # noqa: S603 - the recipes beside this file, and zstd
        [str(word) for word in words],
        cwd=ROOT,
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"image: {words[0]} failed:\n{done.stdout.decode(errors='replace')[-3000:]}")


def _report(text: str) -> None:
    print(f"image: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
