"""Clips that are kept, and where they lie."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from listener.archive.store import FileStore
from listener.envelope import format as form

if TYPE_CHECKING:
    from tests.conftest import Household

T = "2026-11-22T08:00:00.000Z"
T_S = 1_795_334_400


def kept(
    store: FileStore, household: "Household", seq: int = 1, received_s: int = T_S, **fields: object
) -> form.PublicHeader:
    given: dict[str, Any] = {"t": T} | fields
    header = household.header(seq, **given)
    data = household.seal(header)
    store.keep(form.parse(data), data, received_s)
    return header


def path_of(folder: Path, header: form.PublicHeader) -> Path:
    return folder / "clips" / header.owner / f"{header.clip}.earmark"
