"""``earmark clips log``: who asked for what, and whether the log is the one that was written.

``earmark clips verify``: an export or a receipt, without the archive.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.clips.exports import ExportReader, parse_lines, raw_lines
from listener.clips.schema import LogReply
from listener.clips.session import Session, open_own_clip, read_receipt
from listener.clips.trust_store import TrustStore
from listener.envelope import keys
from listener.envelope.open import Identity
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.rights import hash_chain, receipts
from listener.storage.owner_files import read_identities


def show_log(arguments: argparse.Namespace, desk: Session) -> int:
    """Fetch the log from its beginning, recompute it, and show the rows that concern her.

    Raises:
        EarmarkError: it is not what was written; the first wrong row is named.
        Unavailable: the archive does not answer as one.
    """
    key = desk.archive_key()
    published: list[receipts.SignedHead] = []

    def rows() -> Iterator[hash_chain.LogRow]:
        for fields in _fetch(desk, key, published):
            row = hash_chain.parse_row(fields)
            if not arguments.verify_wanted:
                _print(row, fields, as_json=arguments.json)
            yield row

    given = [read_receipt(Path(one), key).head for one in arguments.receipt]
    end = hash_chain.verify_chain(rows(), [*desk.known_heads(), *given])
    if end != published[-1].unsigned():
        raise hash_chain.BrokenChain(end.n, "the archive signed another end of it")
    desk.known.record_head(end)
    if arguments.verify_wanted:
        _verdict(desk.asker.where, end, as_json=arguments.json)
    return 0


def verify_log_file(arguments: argparse.Namespace, known: TrustStore) -> int:
    """Recompute a log that lies in a file; nobody is asked.

    Raises:
        EarmarkError: it is not what was written; the first wrong row is named.
        Unavailable: the file cannot be read.
    """
    path = Path(arguments.verify)
    heads = []
    if arguments.receipt:
        key = known.archive
        if key is None:
            raise UsageError(
                "this machine knows no archive's key to check receipts with",
                "earmark clips log, once, from the archive itself",
            )
        heads = [read_receipt(Path(one), key).head for one in arguments.receipt]
    last = max((row.n for row in _rows_of(path)), default=0)
    # What this machine has seen counts as far as the file goes: it may well be an older one.
    seen = known.head if known.head is not None and known.head.n <= last else None
    end = hash_chain.verify_chain(_rows_of(path), heads if seen is None else [*heads, seen])
    _verdict(str(path), end, as_json=arguments.json)
    return 0


def _fetch(
    desk: Session, key: Ed25519PublicKey, published: list[receipts.SignedHead]
) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        page = desk.asker.request(desk.request("log", after=after), LogReply)
        published[:] = [receipts.parse_head(msgspec.json.encode(page.head), key)]
        yield from page.rows
        if page.next is None:
            return
        if page.next <= after:
            raise Unavailable("the archive's log goes in circles", "try again later")
        after = page.next


def _rows_of(path: Path) -> Iterator[hash_chain.LogRow]:
    try:
        with path.open("rb") as file:
            for fields in parse_lines(raw_lines(file)):
                yield hash_chain.parse_row(fields)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error


def _print(row: hash_chain.LogRow, fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        # All rows, as they came: what is saved can be verified without the archive.
        print(json.dumps(fields, sort_keys=True, separators=(",", ":")))
    elif row.body is not None:
        body = row.body
        other = f", and {body.other}" if body.other else ""
        who = f"{body.owner}{other}"
        print(f"{body.n:>6}  {body.t}  {body.op:<9}  {body.outcome}  {body.count}  {who}")


def _verdict(what: str, end: hash_chain.LogHead, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"log": what, "ok": True, "rows": end.n, "hash": end.hash}))
    else:
        print(f"{what}: {end.n} rows, each as it was written; the last is {end.hash[:16]}")


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
