"""The export: an owner's clips as one streamed ZIP, verified clip by clip.

An export has an owner and a selection, and no field for a recipient. Every clip is verified once
before the first byte is sent, and again as it is sent. A clip that does not verify as the
requester's stops the export: before the first byte with an error, later by a ZIP that lacks its
directory and that readers reject.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import IO, Final

from listener.archive.challenges import RequestChallenge
from listener.archive.context import ArchiveContext
from listener.archive.verified_access import ClipNotFound, VerifiedReader, WrongOwner
from listener.archive.zip_stream import ZipWriter
from listener.errors import Unavailable, UsageError
from listener.rights.hash_chain import LogHead
from listener.rights.requests import ExportRequest, time_span

README_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Your clips</title>
<style>body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}
pre{background:#eee;padding:.7em;overflow:auto}</style>
<h1>Your clips</h1>
<p>This folder contains the clips that your household's archive stores for you. Each file in
<code>clips</code> is one recording, encrypted to your key on the speaker that made it. Only your
key decrypts it. The archive cannot decrypt it.</p>
<h2>Open the clips</h2>
<p>With Earmark, <code>earmark clips export --open</code> downloads and decrypts all clips.</p>
<p>Without Earmark, on Linux or macOS, use <a href="https://age-encryption.org">age</a> and your key
file (here <code>me.key</code>):</p>
<pre>for f in clips/*.earmark; do
  tail -n +5 "$f" | age -d -i me.key &gt; "${f%.earmark}.flac"
done</pre>
<p>Any player plays the FLAC files. <code>metaflac --show-tag=COMMENT FILE.flac</code> prints the
wake word, the score and the time.</p>
<h2>Verify the export</h2>
<p><code>manifest.jsonl</code> lists every clip with its SHA-256. <code>devices.json</code> contains
the public keys of the speakers that signed the clips. <code>access-log.jsonl</code> lists the
requests for your clips and their times. <code>receipt.json</code> is signed by the archive.
<code>earmark clips verify FILE.zip</code> checks all of these files.</p>
<h2>If you lose your key</h2>
<p>These clips then cannot be decrypted. There is no second key.</p>
</html>
"""

_LOG_PAGE_ROWS: Final = 500
_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Exporter:
    """Makes exports.

    Args:
        context: the archive; its access log records each export and is included in it.
        reader: verifies each envelope.
    """

    context: ArchiveContext
    reader: VerifiedReader

    def check(self, ticket: RequestChallenge, request: ExportRequest) -> None:
        """Verify every file under the owner's name, in constant memory.

        This includes files outside the selection: the time of a file that does not verify is not
        known.

        Raises:
            WrongOwner: a file is not the owner's; it is logged for both owners.
            UsageError: the access log does not contain the head that the request names.
            Unavailable: the disk or the log cannot be used.
        """
        start = request.log_after
        if start is not None and self.context.log.hash_at(start.n) != start.hash:
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
        if foreign:
            files = "1 file" if foreign.total() == 1 else f"{foreign.total()} files"
            first = "" if foreign.total() == 1 else "the first "
            raise WrongOwner(f"{files}, {first}{first_clips[0]}", None, tuple(first_clips))

    def pieces(
        self, ticket: RequestChallenge, request: ExportRequest
    ) -> Generator[bytes, None, None]:
        """Yield the ZIP, and write one row of the access log, however it ends.

        Raises:
            WrongOwner: a file is not the owner's; the bytes yielded so far are not a ZIP.
            OwnerNotActive: the owner is no longer active.
            KeyReplaced: the owner's key was replaced since the ticket was issued.
            Unavailable: the disk or the log cannot be used.
        """
        logged = False
        count = 0
        digest = hashlib.sha256()
        try:
            with ZipWriter() as writer, tempfile.TemporaryFile() as manifest:
                yield from writer.add("READ-ME-FIRST.html", README_PAGE.encode())
                for line, clip, data in self._clips(ticket, request):
                    yield from writer.add(f"clips/{clip}.earmark", data)
                    manifest.write(line)
                    digest.update(line)
                    count += 1
                yield from writer.add_file("manifest.jsonl", manifest)
                devices = {device.name: device.key for device in self.context.roster().devices}
                yield from writer.add("devices.json", _json(devices))
                logged = True
                head = self.context.log_outcome(ticket, count)
                with tempfile.TemporaryFile() as rows:
                    self._copy_log(ticket.owner, request.log_after, head, rows)
                    yield from writer.add_file("access-log.jsonl", rows)
                receipt = self.context.receipt(
                    "export", ticket, head, count=count, manifest_sha256=digest.hexdigest()
                )
                yield from writer.add("receipt.json", _json(receipt))
                yield from writer.finish()
        except WrongOwner as error:
            logged = True
            self.context.log_outcome(ticket, count, outcome="not-hers", other=error.other)
            raise
        finally:
            if not logged:
                self.context.log_outcome(ticket, count, outcome="failed")

    def _clips(
        self, ticket: RequestChallenge, request: ExportRequest
    ) -> Iterator[tuple[bytes, str, bytes]]:
        """Yield manifest line, id and bytes of each selected clip."""
        first, last = time_span(request)
        owner = ticket.owner
        for clip in self.reader.candidates(owner):
            ticket.check_roster(self.context.roster())
            try:
                verified = self.reader.fetch(owner, clip)
            except ClipNotFound:
                continue  # erased in the meantime
            header = verified.envelope.header
            if not first <= header.t < last or request.device not in {None, header.device}:
                continue
            line = {
                "bytes": len(verified.data),
                "clip": header.clip,
                "device": header.device,
                "okey": header.okey,
                "seq": header.seq,
                "sha256": verified.sha256,
                "t": header.t,
                "ttl_s": header.ttl_s,
            }
            yield _json(line), clip, verified.data

    def _copy_log(self, owner: str, start: LogHead | None, head: LogHead, file: IO[bytes]) -> None:
        after = 0
        if start is not None and start.n > 0:
            after = start.n
            file.write(_json({"n": start.n, "hash": start.hash}))
        while after < head.n:
            for row in self.context.log.page(owner, after, min(_LOG_PAGE_ROWS, head.n - after)):
                file.write(_json(row))
                after = row["n"]


def _json(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"
