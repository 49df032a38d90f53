"""Sealed clips put into a store, their paths, and a store that only counts expiries."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listener.archive.elapsed_time import NO_WAIT, ArchiveTime, Wait
from listener.archive.records import ClipRecord, Store
from listener.envelope import format as form
from listener.errors import Unavailable

if TYPE_CHECKING:
    from tests.conftest import Household

T = "2026-11-22T08:00:00.000Z"
T_S = 1_795_334_400


def store_clip(
    store: Store,
    household: "Household",
    seq: int = 1,
    received_s: int = T_S,
    waited_s: int = 0,
    **fields: object,
) -> form.PublicHeader:
    header_fields: dict[str, Any] = {"t": T} | fields
    header = household.header(seq, **header_fields)
    data = household.seal(header)
    store.keep(form.parse_envelope(data), data, received_s, wait=Wait(waited_s))
    return header


def stored_path(folder: Path, header: form.PublicHeader) -> Path:
    return folder / "clips" / header.owner / f"{header.clip}.earmark"


REPLACEMENTS = ("pipe", "link", "socket", "folder")


def replace_file(path: Path, kind: str, target: Path = Path("/dev/zero")) -> None:
    """Put something else in the place of a file.

    Args:
        path: the file.
        kind: one of `REPLACEMENTS`.
        target: of the link.
    """
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, stat.S_IFSOCK | 0o600)


class CountingStore:
    """A store that records its expiry sweeps."""

    def __init__(self) -> None:
        self.sweeps: list[int] = []
        self.broken = False

    def keep(
        self,
        envelope: form.Envelope,
        data: bytes,
        received_s: int,
        *,
        wait: Wait = NO_WAIT,
        now: ArchiveTime | None = None,
    ) -> bool:
        return True

    def clips(self, owner: str | None = None) -> Iterator[ClipRecord]:
        yield from ()

    def expire(self, now_s: int) -> int:
        if self.broken:
            raise Unavailable("the disk is gone")
        self.sweeps.append(now_s)
        return 1
