"""``earmark clips log`` and ``verify``: the access log and its hash chain, exports and receipts."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.cli.clips_read import print_left_out
from listener.clips.exports import ExportReader, parse_lines, raw_lines
from listener.clips.schema import LogReply
from listener.clips.session import Session, open_own_clip, read_receipt
from listener.clips.trust_store import TrustStore
from listener.envelope import keys
from listener.envelope.open import Identity
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.quantities import quantity
from listener.rights import hash_chain, receipts
from listener.rights.export_page import PAGE_NAME
from listener.storage.owner_files import read_identities

_ZIP_MAGIC: Final = b"PK"


def show_log(arguments: argparse.Namespace, session: Session) -> int:
    """Fetch the log from its first row, verify its hash chain, and print the owner's rows.

    Raises:
        EarmarkError: the log was changed; the first wrong row is named.
        Unavailable: the archive does not answer, or not as an archive.
    """
    key = session.archive_key()
    published: list[receipts.SignedHead] = []

    def rows() -> Iterator[hash_chain.LogRow]:
        for fields in _fetch(session, key, published):
            row = hash_chain.parse_row(fields)
            if not arguments.verify_wanted:
                _print(row, fields, as_json=arguments.json)
            yield row

    heads = [read_receipt(Path(path), key).head for path in arguments.receipt]
    end = hash_chain.verify_chain(rows(), [*session.known_heads(), *heads])
    if end != published[-1].unsigned():
        raise hash_chain.BrokenChain(end.n, "the head that the archive signed differs")
    session.known.record_head(end)
    if arguments.verify_wanted:
        _print_verified(session.asker.where, end, as_json=arguments.json)
    return 0


def verify_log_file(arguments: argparse.Namespace, known: TrustStore) -> int:
    """Verify the hash chain of a log in a file, offline.

    Raises:
        EarmarkError: the log was changed; the first wrong row is named.
        UsageError: a receipt is given, and the archive's key is not known.
        Unavailable: the file cannot be read.
    """
    path = Path(arguments.verify)
    heads = []
    if arguments.receipt:
        key = known.archive
        if key is None:
            raise UsageError(
                "the archive's public key is not known, so receipts cannot be verified",
                "fetch it once from the archive: earmark clips log",
            )
        heads = [read_receipt(Path(path), key).head for path in arguments.receipt]
    start = _start_of(path)
    last = max((row.n for row in _rows_of(path)), default=0)
    # The file may be older than the newest head seen on this machine.
    seen = known.head if known.head is not None and known.head.n <= last else None
    heads += [] if seen is None else [seen]
    end = hash_chain.verify_chain(_rows_of(path), heads, before=start)
    _print_verified(str(path), end, start, as_json=arguments.json)
    return 0


def _fetch(
    session: Session, key: Ed25519PublicKey, published: list[receipts.SignedHead]
) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        page = session.asker.request(session.request("log", after=after), LogReply)
        published[:] = [receipts.parse_head(msgspec.json.encode(page.head), key)]
        yield from page.rows
        if page.next is None:
            return
        if page.next <= after:
            raise Unavailable(
                "the archive returned the same page of the log twice", "report this as a bug"
            )
        after = page.next


def _rows_of(path: Path) -> Iterator[hash_chain.LogRow]:
    for number, fields in enumerate(_lines_of(path)):
        if number > 0 or hash_chain.parse_start(fields) is None:
            yield hash_chain.parse_row(fields)


def _start_of(path: Path) -> hash_chain.LogHead | None:
    """Return the head after which a log begins; None if it begins with row 1."""
    fields = next(_lines_of(path), None)
    return None if fields is None else hash_chain.parse_start(fields)


def _lines_of(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            yield from parse_lines(raw_lines(file))
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error


def _print(row: hash_chain.LogRow, fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        # All rows, unchanged: saved output can be verified offline.
        print(json.dumps(fields, sort_keys=True, separators=(",", ":")))
    elif row.body is not None:
        body = row.body
        other = f", and {body.other}" if body.other else ""
        who = f"{body.owner}{other}"
        print(f"{body.n:>6}  {body.t}  {body.op:<9}  {body.outcome}  {body.count}  {who}")


def _print_verified(
    source: str,
    end: hash_chain.LogHead,
    start: hash_chain.LogHead | None = None,
    *,
    as_json: bool,
) -> None:
    rows = end.n - (0 if start is None else start.n)
    if as_json:
        result = {"log": source, "ok": True, "rows": rows, "hash": end.hash}
        print(json.dumps(result | ({} if start is None else {"after": start.n})))
    else:
        after = "" if start is None else f" after row {start.n}"
        print(
            f"{source}: {quantity(rows, 'row')}{after}, unchanged;"
            f" the last has the hash {end.hash[:16]}"
        )


def verify_file(arguments: argparse.Namespace, known: TrustStore) -> int:
    """Verify an export or a receipt; with an identity, decrypt each clip of an export too.

    Raises:
        EarmarkError: the file is not valid, or belongs to another owner.
        UsageError: the archive's key is not known.
        Unavailable: the file cannot be read.
    """
    path = Path(arguments.file)
    left_out: list[str] = []
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
            receipt, is_covered = export.receipt, export.is_covered
            left_out = [one.clip for one in export.left_out()]
            start = export.log_start()
    else:
        receipt, opened, is_covered, start = read_receipt(path, key), 0, None, None
    if arguments.owner is not None and receipt.owner != arguments.owner:
        raise EarmarkError(f"{path} belongs to {receipt.owner}, not to {arguments.owner}")
    result: dict[str, Any] = {"file": str(path), "ok": True, "kind": receipt.kind}
    result |= {"owner": receipt.owner, "t": receipt.t, "count": receipt.count}
    result["head"] = msgspec.to_builtins(receipt.head)
    if is_covered is not None:
        result["all_signed"] = is_covered
    if start is not None:
        result["log_after"] = start.n
    if identities:
        result["opened"] = opened
    if left_out:
        result["left_out"] = left_out
    if arguments.json:
        print(json.dumps(result))
    else:
        operation = {"erase": "erased", "export": "exported"}[receipt.kind]
        decrypted = f", {opened} decrypted" if identities and magic == _ZIP_MAGIC else ""
        log = "" if start is None else f"; the access log begins after row {start.n}"
        print(
            f"{path}: valid; {receipt.t}, {receipt.owner}:"
            f" {quantity(receipt.count, 'clip')} {operation}{decrypted}{log}"
        )
        if is_covered is False:
            print(
                f"{path}: made before archives signed the hash of every file; {PAGE_NAME} is a page"
                " of Earmark, but this archive did not sign it"
            )
        print_left_out(left_out)
    return 0


def _export(export: ExportReader, known: TrustStore, identities: tuple[Identity, ...]) -> int:
    known.check_devices(export.devices, export.retired)
    # The export may be older than the newest head seen on this machine.
    seen = known.head
    export.check_log([] if seen is None or seen.n > export.receipt.head.n else [seen])
    devices = export.signers()
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
            "the public key of the archive that signed it is not known on this machine",
            "pass it: --archive-key ed25519:… (from https://HOST:PORT/v1/archive)",
        )
    return known.archive
