"""Device trees and overlays: made with Debian's own tools, and read here."""

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MAGIC = 0xD00DFEED
_BEGIN, _END, _PROPERTY, _LAST = 1, 2, 3, 9


class Refused(Exception):
    """A tool said no; carries why."""


class Tree:
    """A compiled tree: properties by the paths of their nodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes = dict(_nodes(path.read_bytes()))
        self._by_phandle = {
            int.from_bytes(found["phandle"], "big"): node
            for node, found in self.nodes.items()
            if "phandle" in found
        }

    def text(self, node: str, name: str) -> str:
        """Return a property of text; several values are separated by blanks."""
        return self.nodes[node][name].rstrip(b"\0").replace(b"\0", b" ").decode()

    def cells(self, node: str, name: str) -> list[int]:
        """Return a property of 32-bit numbers."""
        return [cell for (cell,) in struct.iter_unpack(">I", self.nodes[node][name])]

    def labelled(self, label: str) -> str:
        """Return the path of the node with a label."""
        return self.text("/__symbols__", label)

    def at(self, phandle: int) -> str:
        """Return the path of the node with a phandle."""
        return self._by_phandle[phandle]


class Sets(NamedTuple):
    """What a parameter of an overlay changes."""

    node: str
    name: str
    offset: int


def parameters(overlay: Tree, name: str) -> list[Sets]:
    """Return what an overlay's parameter sets."""
    left, found = overlay.nodes["/__overrides__"][name], []
    while left:
        phandle, rest = int.from_bytes(left[:4], "big"), left[4:]
        target, _, left = rest.partition(b"\0")
        property_name, _, offset = target.decode().partition(":")
        found.append(Sets(overlay.at(phandle), property_name, int(offset)))
    return found


def compiled(source: Path, folder: Path) -> Tree:
    """Compile an overlay; any warning but one is refused.

    The one: dtc takes the parameter ``gpio`` for a GPIO line, whose name it merely shares.
    """
    made = folder / f"{source.stem}.dtbo"
    warnings = _said(
        *("dtc", "-@", "-I", "dts", "-O", "dtb", "-W", "no-gpios_property", "-o", made, source)
    )
    if warnings:
        raise Refused(warnings)
    return Tree(made)


def merged(board: Tree, *overlays: Tree) -> Tree:
    """Apply overlays to a board's tree, as its firmware does."""
    made = overlays[0].path.with_suffix(f".{board.path.stem}.dtb")
    _said("fdtoverlay", "-i", board.path, "-o", made, *(overlay.path for overlay in overlays))
    return Tree(made)


def _said(*words: str | Path) -> str:
    """Run a tool; return what it complained of."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(done.stderr.strip())
    return done.stderr


def _nodes(data: bytes) -> Iterator[tuple[str, dict[str, bytes]]]:
    magic, _, at, strings = struct.unpack_from(">4I", data)
    if magic != _MAGIC:
        raise Refused("no device tree")
    path: list[str] = []
    open_nodes: list[dict[str, bytes]] = []
    while True:
        (token,) = struct.unpack_from(">I", data, at)
        at += 4
        if token == _BEGIN:
            end = data.index(b"\0", at)
            path.append(data[at:end].decode())
            open_nodes.append({})
            at = end + 1
        elif token == _PROPERTY:
            length, name_at = struct.unpack_from(">2I", data, at)
            name_at += strings
            name = data[name_at : data.index(b"\0", name_at)].decode()
            open_nodes[-1][name] = data[at + 8 : at + 8 + length]
            at += 8 + length
        elif token == _END:
            yield "/".join(path) or "/", open_nodes.pop()
            path.pop()
        elif token == _LAST:
            return
        at = -(-at // 4) * 4
