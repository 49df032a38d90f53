"""Checks of a Raspberry Pi's boot configuration and of the mute switch's device tree overlay."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.config import MuteSettings
from listener.system.findings import Check, Finding

SWITCH: Final = "earmark-mute"
"""Name of the overlay, of its device tree node, and of its input device."""
_FOLDER: Final = Path("boot") / "firmware"
_KEPT: Final = Path("etc") / "default" / "raspi-firmware-custom"
_BEGIN, _END = "# earmark begin", "# earmark end"


def check_boot(root: Path, settings: MuteSettings) -> Finding:
    """Check Earmark's lines in config.txt: complete, permanent, and with their overlay files.

    Args:
        root: root of the file system.
        settings: of the mute switch.
    """
    folder = root / _FOLDER
    text = _read(folder / "config.txt")
    if text is None:
        return Check("boot").not_here("this machine has no config.txt of a Raspberry Pi")
    lines = text.splitlines()
    begins = sum(line.startswith(_BEGIN) for line in lines)
    if begins != lines.count(_END) or begins > 1:
        return Check("boot").fail(
            f"the markers of earmark in /{_FOLDER}/config.txt are damaged",
            f"edit it: one '{_BEGIN}' and one '{_END}', around Earmark's lines",
        )
    overlays = tuple(_parse_overlays(text))
    ours = [name for name in overlays if name.startswith("earmark-")]
    missing = [name for name in ours if not (folder / "overlays" / f"{name}.dtbo").exists()]
    if missing:
        return Check("boot").fail(
            f"config.txt enables {missing[0]}, but /{_FOLDER}/overlays has no such file",
            "reinstall the package: apt install --reinstall earmark",
        )
    if settings.switch == "input" and SWITCH not in overlays:
        return Check("boot").warn(
            f"mute.switch is input, but config.txt does not enable {SWITCH}",
            f"add dtoverlay={SWITCH}, unless another overlay reads the switch",
        )
    # Debian's package regenerates config.txt with each kernel, from this file only.
    is_generated = "upstream_kernel=1" in lines
    if is_generated and ours and not set(ours) <= {*_parse_overlays(_read(root / _KEPT) or "")}:
        return Check("boot").fail(
            f"the next kernel update removes {', '.join(ours)} from config.txt",
            f"add the same lines to /{_KEPT}",
        )
    enabled = ", ".join(ours) or "no overlay of Earmark"
    return Check("boot").ok(f"config.txt enables {enabled}")


def check_overlay(root: Path, settings: MuteSettings) -> Finding:
    """Check that the kernel has an input device for the switch.

    Args:
        root: root of the file system.
        settings: of the mute switch.
    """
    is_in_tree = (root / "proc" / "device-tree" / SWITCH).is_dir()
    if settings.switch == "input":
        return _check_input(root, settings, is_in_tree=is_in_tree)
    if not is_in_tree:
        return Check("overlay").not_here("not needed")
    return Check("overlay").warn(
        f"the kernel reads a mute switch, but mute.switch is {settings.switch or 'not set'}",
        'set mute.switch = "input"',
    )


def _check_input(root: Path, settings: MuteSettings, *, is_in_tree: bool) -> Finding:
    is_input = SWITCH in _list_inputs(root)
    if is_input and is_in_tree:
        return Check("overlay").ok(f"{SWITCH} is an input device")
    if is_in_tree:
        return Check("overlay").fail(
            f"{SWITCH} is in the device tree, but no driver is bound to it",
            "run: modprobe gpio_keys; dmesg | grep gpio",
        )
    if is_input:
        return Check("overlay").warn(
            f"an input device is named {SWITCH}, but it is not from the overlay",
            "find the program that made it: one that can make input devices can also unmute",
        )
    switch = settings.input or "the only input device that can mute"
    if not (root / "proc" / "device-tree").exists():
        return Check("overlay").ok(f"this machine has no device tree; the switch is {switch}")
    return Check("overlay").warn(
        f"{SWITCH} is not in the device tree; the switch is {switch}",
        "restart the board if config.txt was changed since its last start",
    )


def _parse_overlays(text: str) -> Iterator[str]:
    """Yield the overlays in a config.txt that apply to every board, without their parameters."""
    applies = True
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            applies = line == "[all]"
        elif applies and line.startswith("dtoverlay="):
            yield line.partition("=")[2].partition(",")[0].strip()


def _list_inputs(root: Path) -> set[str]:
    names = (root / "sys" / "class" / "input").glob("event*/device/name")
    return {(_read(path) or "").strip() for path in names}


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None
