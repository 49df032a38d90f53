"""A laptop and a board as root file systems of Debian 13, with a repository of their packages.

The repository holds what the day installs, as files: the board has no network but its own.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.units.machine import ROOT, architecture

BUILD: Final = ROOT / "build" / "first-day"
SUITE: Final = "trixie"
BASE: Final = ("systemd", "systemd-sysv", "udev", "passwd", "procps", "python3", "iproute2", "sudo")
FETCHED: Final = ("mosquitto", "libportaudio2", "age", "alsa-utils")
"""What the package and the installer bring, with all that it needs."""
ADDRESS: Final = "10.77.0.1"
"""Of the board; tests/units/boot.sh adds it."""
ONE_BOARD: Final = {"kitchen.local": ADDRESS}
SPEAKER_ADDRESS: Final = "10.77.1.2"
"""Of a speaker beside a hub, which has `ADDRESS`."""
TWO_BOARDS: Final = {"hub.local": ADDRESS, "kitchen.local": SPEAKER_ADDRESS}
BOOT: Final = "/boot/firmware"
CARD: Final = "/media/ada/bootfs"
SAID: Final = "/usr/share/said.flac"
_MIRROR: Final = "/srv/mirror"
_HEAR: Final = f"""\
[Service]
ExecStart=
ExecStart=/opt/earmark/current/bin/earmark hear --microphone {SAID}
"""


def build_package() -> None:
    """Build what `make deb` builds for this architecture."""
    must("make", "deb", f"ARCH={architecture()}")


def make_root(name: str, hostname: str, hosts: Mapping[str, str] = ONE_BOARD) -> Path:
    """Unpack a root file system, with the user ada, who may use sudo; return its folder.

    Args:
        name: of the folder.
        hostname: of the computer.
        hosts: addresses of the computers by name.
    """
    root = BUILD / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    must("tar", "--extract", "--numeric-owner", "--file", str(_base()), "--directory", str(root))
    must("chroot", str(root), "useradd", "--create-home", "--shell", "/bin/sh", "ada")
    (root / "etc" / "sudoers.d" / "ada").write_text("ada ALL=(ALL) NOPASSWD: ALL\n")
    (root / "etc" / "hostname").write_text(f"{hostname}\n")
    known = {"localhost": "127.0.0.1", hostname: "127.0.1.1"} | dict(hosts)
    text = "".join(f"{address} {host}\n" for host, address in known.items())
    (root / "etc" / "hosts").write_text(text)
    return root


def make_card(board: Path) -> None:
    """Make the board's boot partition, as Raspberry Pi OS has it."""
    boot = board / BOOT.lstrip("/")
    (boot / "overlays").mkdir(parents=True)
    (boot / "config.txt").write_text("dtparam=audio=on\n")
    (boot / "cmdline.txt").write_text("console=tty1 root=PARTUUID=12 rootwait\n")


def plug_in_recording(board: Path, sound: bytes) -> None:
    """Let hear take a recording for its microphone; nothing is typed for it."""
    (board / SAID.lstrip("/")).write_bytes(sound)
    drop_in = board / "etc/systemd/system/earmark-hear.service.d/recording.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(_HEAR)


def _base() -> Path:
    """Return Debian as it comes, with a repository in it instead of the network; made once."""
    tar = BUILD / f"{SUITE}-{architecture()}.tar"
    if tar.exists():
        return tar
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = f'"$1{_MIRROR}"'
    must(
        *("mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(BASE)}"),
        '--aptopt=Apt::Install-Recommends "false"',
        # Raspberry Pi OS and Debian install what a package recommends.
        '--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
        # Hooks run with a network, and see the archives that apt has downloaded.
        '--customize-hook=chroot "$1" apt-get --yes --download-only install ' + " ".join(FETCHED),
        f"--customize-hook=mkdir -p {folder}",
        f'--customize-hook=mv "$1"/var/cache/apt/archives/*.deb {folder}',
        f"--customize-hook=cd {folder} && dpkg-scanpackages --multiversion . > Packages",
        f'--customize-hook=echo "deb [trusted=yes] file:{_MIRROR} ./" > "$1/etc/apt/sources.list"',
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/*',
        *(SUITE, str(tar)),
    )
    return tar


def must(*words: str) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words[:4])}…: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def connect(hub: int, speaker: int) -> None:
    """Connect the networks of two systems by a cable.

    Args:
        hub: process 1 of the hub; it has `ADDRESS`.
        speaker: process 1 of the speaker; it gets `SPEAKER_ADDRESS`, and loses `ADDRESS`.
    """

    def ip(of: int, *words: str) -> None:
        must("nsenter", "--target", str(of), "--net", "ip", *words)

    ip(hub, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", str(speaker))
    ip(hub, "address", "add", "10.77.1.1/24", "dev", "cable")
    ip(hub, "link", "set", "cable", "up")
    ip(speaker, "address", "del", f"{ADDRESS}/32", "dev", "lo")
    ip(speaker, "address", "add", f"{SPEAKER_ADDRESS}/24", "dev", "cable")
    ip(speaker, "link", "set", "cable", "up")
    ip(speaker, "route", "add", ADDRESS, "via", "10.77.1.1")


def in_root(root: Path, text: str, network_of: int | None) -> Sequence[str]:
    """Return the words that run a line of shell as ada in a root file system.

    Args:
        root: the file system.
        text: the line.
        network_of: a process whose network it uses, or None for the network of this process.
    """
    network = () if network_of is None else ("nsenter", "--target", str(network_of), "--net")
    clean = "env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8"
    mounts = f'mount -t proc proc "$0/proc" && exec chroot "$0" {clean} su ada -c "cd && $1"'
    return (*network, "unshare", "--mount", "--pid", "--fork", "sh", "-c", mounts, str(root), text)
