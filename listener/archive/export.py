"""The export: an owner's clips as one streamed ZIP, verified clip by clip.

An export has an owner and a selection, and no field for a recipient. Every clip is verified once
before the first byte is sent, and again as it is sent. Another owner's clip under the requester's
name stops the export: before the first byte with an error, later by a ZIP that lacks its directory
and that readers reject. A file that verifies for no owner is left out and listed, so that one
damaged file does not deny an owner the rest (decision 0041).
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import IO, Final, Self

from listener.archive.challenges import RequestChallenge
from listener.archive.context import ArchiveContext
from listener.archive.devices import describe
from listener.archive.verified_access import (
    ClipNotFound,
    VerifiedEnvelope,
    VerifiedReader,
    WrongOwner,
)
from listener.archive.zip_stream import ZipWriter
from listener.envelope.format import PublicHeader
from listener.errors import Unavailable, UsageError
from listener.quantities import quantity
from listener.rights.export_page import EXPORT_PAGE, PAGE_NAME
from listener.rights.hash_chain import LogHead
from listener.rights.requests import ExportRequest, time_span

_LOG_PAGE_ROWS: Final = 500
_MOST_NAMED: Final = 20
_IN_MEMORY_BYTES: Final = 4 << 20


class ExportLists:
    """Lists of an export's clips and of the files that it omits, on disk. A context manager."""

    def __init__(self) -> None:
        self.manifest: IO[bytes] = _temporary_file()
        self.left_out: IO[bytes] = _temporary_file()
        self.count = 0
        """Number of clips."""
        self.omitted = 0
        """Number of files that verify for no owner."""
        self.signers: set[str] = set()
        """Fingerprints of the keys that signed the clips."""
        self._digest = hashlib.sha256()
        self._left_out_digest = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.manifest.close()
        self.left_out.close()

    @property
    def manifest_sha256(self) -> str:
        """Hexadecimal digest of the manifest."""
        return self._digest.hexdigest()

    @property
    def left_out_sha256(self) -> str:
        """Hexadecimal digest of the list of omitted files."""
        return self._left_out_digest.hexdigest()

    def add(self, verified: VerifiedEnvelope) -> None:
        """List a clip."""
        header = verified.envelope.header
        line = _json(
            {
                "bytes": len(verified.data),
                "clip": header.clip,
                "device": header.device,
                "okey": header.okey,
                "seq": header.seq,
                "sha256": verified.sha256,
                "t": header.t,
                "ttl_s": header.ttl_s,
            }
        )
        self.manifest.write(line)
        self._digest.update(line)
        self.signers.add(header.dkey)
        self.count += 1

    def omit(self, clip: str, error: WrongOwner) -> None:
        """List a file that the export does not contain."""
        line = _json({"clip": clip, "reason": str(error)})
        self.left_out.write(line)
        self._left_out_digest.update(line)
        self.omitted += 1


@dataclass(frozen=True, slots=True)
class Exporter:
    """Makes exports.

    Args:
        context: the archive; its access log records each export and is included in it.
        reader: verifies each envelope.
    """

    context: ArchiveContext
    reader: VerifiedReader

    def check(self, ticket: RequestChallenge, request: ExportRequest) -> int:
        """Verify every file under the owner's name, in constant memory.

        This includes files outside the selection: the time of a file that does not verify is not
        known.

        Returns:
            The number of files that verify for no owner. They are logged.

        Raises:
            WrongOwner: a file is another owner's; it is logged for both owners.
            UsageError: the access log does not contain the head that the request names.
            Unavailable: the disk or the log cannot be used.
        """
        start = request.log_after
        if start is not None and self.context.log.hash_at(start.n, ticket.owner) != start.hash:
            raise UsageError(
                f"the access log does not contain the head of row {start.n}",
                "keep the receipt as evidence, and export the whole log",
            )
        foreign: Counter[str | None] = Counter()
        first_clips: list[str] = []
        try:
            for clip in self.reader.candidates(ticket.owner):
                try:
                    self.reader.fetch(ticket.owner, clip)
                except ClipNotFound:
                    continue  # erased in the meantime
                except WrongOwner as error:
                    foreign[error.other] += 1
                    first_clips += [clip][: _MOST_NAMED - len(first_clips)]
        except Unavailable:
            self.context.log_outcome(ticket, outcome="failed")
            raise
        for other, number in foreign.items():
            self.context.log_outcome(ticket, number, outcome="not-hers", other=other)
        if foreign.keys() - {None}:
            files = quantity(foreign.total(), "file")
            first = "" if foreign.total() == 1 else "the first "
            raise WrongOwner(f"{files}, {first}{first_clips[0]}", None, tuple(first_clips))
        return foreign.total()

    def pieces(
        self, ticket: RequestChallenge, request: ExportRequest, logged_files: int
    ) -> Generator[bytes, None, None]:
        """Yield the ZIP, and write one row of the access log, however it ends.

        Args:
            ticket: the proven request.
            request: the selection.
            logged_files: number of files that verify for no owner, as ``check`` returned it.

        Raises:
            WrongOwner: a file is another owner's; the bytes yielded so far are not a ZIP.
            OwnerNotActive: the owner is no longer active.
            KeyReplaced: the owner's key was replaced since the ticket was issued.
            Unavailable: the disk or the log cannot be used.
        """
        logged = False
        page = EXPORT_PAGE.encode()
        with ZipWriter() as writer, ExportLists() as contents:
            try:
                yield from writer.add(PAGE_NAME, page)
                files = {PAGE_NAME: hashlib.sha256(page).hexdigest()}
                yield from self._clip_entries(writer, contents, ticket, request)
                yield from writer.add_file("manifest.jsonl", contents.manifest)
                files["manifest.jsonl"] = contents.manifest_sha256
                for name, data in self._device_entries(contents.signers):
                    yield from writer.add(name, data)
                    files[name] = hashlib.sha256(data).hexdigest()
                if contents.omitted:
                    yield from writer.add_file("left-out.jsonl", contents.left_out)
                    files["left-out.jsonl"] = contents.left_out_sha256
                if (new := contents.omitted - logged_files) > 0:
                    self.context.log_outcome(ticket, new, outcome="not-hers")
                logged = True
                head = self.context.log_outcome(ticket, contents.count)
                with _temporary_file() as rows:
                    log_sha256 = self._copy_log(ticket.owner, request.log_after, head, rows)
                    yield from writer.add_file("access-log.jsonl", rows)
                files["access-log.jsonl"] = log_sha256
                receipt = self.context.export_receipt(
                    ticket, head, count=contents.count, files=files
                )
                yield from writer.add("receipt.json", _json(receipt))
                yield from writer.finish()
            except WrongOwner as error:
                logged = True
                self.context.log_outcome(
                    ticket, contents.count, outcome="not-hers", other=error.other
                )
                raise
            finally:
                if not logged:
                    self.context.log_outcome(ticket, contents.count, outcome="failed")

    def _clip_entries(
        self,
        writer: ZipWriter,
        contents: ExportLists,
        ticket: RequestChallenge,
        request: ExportRequest,
    ) -> Iterator[bytes]:
        """Yield the entries of the selected clips, and list them and the omitted files.

        Raises:
            WrongOwner: a file is another owner's.
            OwnerNotActive: the owner is no longer active.
            KeyReplaced: the owner's key was replaced since the ticket was issued.
        """
        owner = ticket.owner
        for clip in self.reader.candidates(owner):
            ticket.check_roster(self.context.roster())
            try:
                verified = self.reader.fetch(owner, clip)
            except ClipNotFound:
                continue  # erased in the meantime
            except WrongOwner as error:
                if error.other is not None:
                    raise
                contents.omit(clip, error)
                continue
            if _is_selected(verified.envelope.header, request):
                yield from writer.add(f"clips/{clip}.earmark", verified.data)
                contents.add(verified)

    def _device_entries(self, signers: AbstractSet[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of the lists of speakers' keys: active, and retired that signed.

        The second entry is left out if it is empty: readers of versions before it refuse it.
        """
        roster = self.context.roster()
        active = {device.name: device.key for device in roster.devices}
        yield "devices.json", _json(active)
        retired = [one for one in roster.retired_devices if one.dkey in signers]
        if retired:
            yield "retired-devices.json", _json(list(map(describe, retired)))

    def _copy_log(self, owner: str, start: LogHead | None, head: LogHead, file: IO[bytes]) -> str:
        """Copy the log after ``start`` up to ``head``; return the SHA-256 of the copy in hex."""
        after = 0
        digest = hashlib.sha256()
        if start is not None and start.n > 0:
            after = start.n
            line = _json({"n": start.n, "hash": start.hash})
            file.write(line)
            digest.update(line)
        while after < head.n:
            for row in self.context.log.page(owner, after, min(_LOG_PAGE_ROWS, head.n - after)):
                line = _json(row)
                file.write(line)
                digest.update(line)
                after = row["n"]
        return digest.hexdigest()


def _is_selected(header: PublicHeader, request: ExportRequest) -> bool:
    first, last = time_span(request)
    return first <= header.t < last and request.device in {None, header.device}


def _temporary_file() -> IO[bytes]:
    """Return a temporary file that uses no disk space unless it grows large."""
    return tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)


def _json(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"
