"""What the board was told at its start, and what came of it: boot settings, and the overlay."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.config import MuteSettings
from listener.system.findings import Check, Finding

SWITCH: Final = "earmark-mute"
"""The overlay, the node that it adds, and the input device that comes of it."""
_FOLDER: Final = Path("boot") / "firmware"
_KEPT: Final = Path("etc") / "default" / "raspi-firmware-custom"
_BEGIN, _END = "# earmark begin", "# earmark end"


def check_boot(root: Path, settings: MuteSettings) -> Finding:
    """Look at the boot settings: are our lines there, do they last, are their overlays there?

    Args:
        root: of the machine's files.
        settings: which switch is fitted.
    """
    folder = root / _FOLDER
    text = _read(folder / "config.txt")
    if text is None:
        return Check("boot").ok("no boot settings of a Raspberry Pi here")
    lines = text.splitlines()
    begins = sum(line.startswith(_BEGIN) for line in lines)
    if begins != lines.count(_END) or begins > 1:
        return Check("boot").fail(
            "the markers of earmark in config.txt are damaged", "mend them by hand"
        )
    asked = tuple(_parse_overlays(text))
    ours = [name for name in asked if name.startswith("earmark-")]
    missing = [name for name in ours if not (folder / "overlays" / f"{name}.dtbo").exists()]
    if missing:
        return Check("boot").fail(
            f"config.txt asks for {missing[0]}, and boot/firmware/overlays has no such file",
            "install earmark again",
        )
    if settings.switch == "input" and SWITCH not in asked:
        return Check("boot").warn(
            f"mute.switch is input, and config.txt asks for no {SWITCH}",
            f"dtoverlay={SWITCH}, unless another overlay reads the switch",
        )
    # Debian's package writes config.txt anew with each kernel, from this file and no other.
    is_written_anew = "upstream_kernel=1" in lines
    if is_written_anew and ours and not set(ours) <= {*_parse_overlays(_read(root / _KEPT) or "")}:
        return Check("boot").fail(
            f"the next kernel takes {', '.join(ours)} out of config.txt",
            f"the same lines belong into /{_KEPT}",
        )
    text = f"config.txt asks for {', '.join(ours)}" if ours else "config.txt asks for nothing of us"
    return Check("boot").ok(text)


def check_overlay(root: Path, settings: MuteSettings) -> Finding:
    """Look whether the kernel knows the switch.

    Args:
        root: of the machine's files.
        settings: which switch is fitted.
    """
    is_in_tree = (root / "proc" / "device-tree" / SWITCH).is_dir()
    if settings.switch == "input":
        return _check_input(root, settings, is_in_tree=is_in_tree)
    if not is_in_tree:
        return Check("overlay").ok("none is needed")
    return Check("overlay").warn(
        f"the kernel reads a mute switch; mute.switch is {settings.switch or 'not set'}",
        'mute.switch = "input"',
    )


def _check_input(root: Path, settings: MuteSettings, *, is_in_tree: bool) -> Finding:
    is_input = SWITCH in _list_inputs(root)
    if is_input and is_in_tree:
        return Check("overlay").ok(f"{SWITCH} is an input device")
    if is_in_tree:
        return Check("overlay").fail(
            f"{SWITCH} is in the device tree, and no driver took it",
            "modprobe gpio_keys; dmesg | grep gpio",
        )
    if is_input:
        return Check("overlay").warn(
            f"an input device calls itself {SWITCH}, and no overlay made it",
            "whoever may make input devices can release this switch",
        )
    named = settings.input or "the only one that can mute"
    if not (root / "proc" / "device-tree").exists():
        return Check("overlay").ok(f"no device tree here; the switch is {named}")
    return Check("overlay").warn(
        f"{SWITCH} is not in the device tree; the switch is {named}",
        "has the board started anew since config.txt asks for it?",
    )


def _parse_overlays(text: str) -> Iterator[str]:
    """Yield the overlays that apply to every board, without their parameters."""
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
