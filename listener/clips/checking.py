"""``earmark clips verify``: an export or a receipt, without the archive."""

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.clips.desk import open_own_clip, read_receipt
from listener.clips.exported import ExportReader
from listener.clips.known import TrustStore
from listener.envelope import keys
from listener.envelope.open import Identity
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.storage.owner_files import read_identities

_ZIP_MAGIC = b"PK"


def verify_file(arguments: argparse.Namespace, known: TrustStore) -> int:
    """Check a file and say what it is. With an identity, each clip of an export is opened too.

    Raises:
        EarmarkError: it is not sound, or somebody else's.
        UsageError: the archive's key is not known.
        Unavailable: it cannot be read.
    """
    path = Path(arguments.file)
    key = _key(arguments, known)
    identities = () if arguments.identity is None else read_identities(Path(arguments.identity))
    try:
        with path.open("rb") as file:
            magic = file.read(len(_ZIP_MAGIC))
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    if magic == _ZIP_MAGIC:
        with ExportReader(path, key) as export:
            opened = _export(export, known, identities)
            said = export.receipt
    else:
        said, opened = read_receipt(path, key), 0
    if arguments.owner is not None and said.owner != arguments.owner:
        raise EarmarkError(f"{path} is {said.owner}'s, not {arguments.owner}'s")
    told: dict[str, Any] = {"file": str(path), "ok": True, "kind": said.kind, "owner": said.owner}
    told |= {"t": said.t, "count": said.count, "head": msgspec.to_builtins(said.head)}
    if identities:
        told["opened"] = opened
    if arguments.json:
        print(json.dumps(told))
    else:
        did = {"erase": "erased", "export": "handed out"}[said.kind]
        more = f", {opened} opened here" if identities and magic == _ZIP_MAGIC else ""
        print(f"{path}: sound; {said.t}, {said.owner}: {said.count} clips {did}{more}")
    return 0


def _export(export: ExportReader, known: TrustStore, identities: tuple[Identity, ...]) -> int:
    known.check_devices(export.devices)
    # An export may well be older than what was seen since.
    seen = known.head
    export.check_log([] if seen is None or seen.n > export.receipt.head.n else [seen])
    devices = {name: keys.parse_device(text) for name, text in export.devices.items()}
    opened = 0
    for _, data in export.clips(devices):
        if identities:
            open_own_clip(data, export.receipt.owner, identities, devices)
            opened += 1
    return opened


def _key(arguments: argparse.Namespace, known: TrustStore) -> Ed25519PublicKey:
    if arguments.archive_key is not None:
        return keys.parse_device(arguments.archive_key)
    if known.archive is None:
        raise UsageError(
            "this machine has not met the archive that signed it",
            "--archive-key ed25519:… names its key; curl …/v1/archive shows it",
        )
    return known.archive
