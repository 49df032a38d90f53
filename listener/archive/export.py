"""An owner's clips as one ZIP, made while it is sent and verified clip by clip at the door.

It takes an owner and a selection; there is nowhere to put a recipient. Everything is verified once
before a byte goes out, and again as it goes: what does not verify as hers is answered with a clear
no, and where it came between the two passes, the ZIP lacks the directory that makes it whole.

The page that lies on top of an export: how to open the clips, with tools that are not ours.
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
from listener.errors import Unavailable
from listener.rights.hash_chain import LogHead
from listener.rights.requests import ExportRequest, time_span

READ_ME: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Your clips</title>
<style>body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}
pre{background:#eee;padding:.7em;overflow:auto}</style>
<h1>Your clips</h1>
<p>This folder holds what your household's archive keeps for you. Each file in <code>clips</code> is
one recording, sealed on the speaker to your key. Nobody else can open it: not the archive, not the
person who gave you this, and not whoever finds it.</p>
<h2>Opening them</h2>
<p>With Earmark: <code>earmark clips export --open</code> does all of this for you.</p>
<p>Without it, on Linux or a Mac, with <a href="https://age-encryption.org">age</a> and your key
file (here <code>me.key</code>):</p>
<pre>for f in clips/*.earmark; do
  tail -n +5 "$f" | age -d -i me.key &gt; "${f%.earmark}.flac"
done</pre>
<p>The FLAC files play in any player; <code>metaflac --show-tag=COMMENT FILE.flac</code> shows the
wake word, the score and the time.</p>
<h2>Checking them</h2>
<p><code>manifest.jsonl</code> lists every clip with its SHA-256, <code>devices.json</code> the
public keys of the speakers that signed them, <code>access-log.jsonl</code> who asked for your
clips and when; <code>receipt.json</code> is signed by the archive.
<code>earmark clips verify FILE.zip</code> checks all of it.</p>
<h2>If your key is lost</h2>
<p>Then these clips are lost too. Nobody has a second one.</p>
</html>
"""


_PAGE: Final = 500
_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Exporter:
    """Make exports.

    Args:
        holdings: whose log notes each export and goes along.
        door: verifies each envelope.
    """

    holdings: ArchiveContext
    door: VerifiedReader

    def check(self, ticket: RequestChallenge) -> None:
        """Verify all that lies under her name, and hold none of it in memory.

        Also what her selection leaves out: of a file that is not hers, nobody knows its time.

        Raises:
            NotHers: something there is not hers; the logs of both owners say so.
            Unavailable: the disk or the log cannot be used.
        """
        foreign: Counter[str | None] = Counter()
        named: list[str] = []
        try:
            for clip in self.door.candidates(ticket.owner):
                try:
                    self.door.fetch(ticket.owner, clip)
                except ClipNotFound:
                    continue  # erased while we were at it
                except WrongOwner as error:
                    foreign[error.other] += 1
                    named += [clip][: _MOST_NAMED - len(named)]
        except Unavailable:
            self.holdings.log_outcome(ticket, outcome="failed")
            raise
        for other, number in foreign.items():
            self.holdings.log_outcome(ticket, number, outcome="not-hers", other=other)
        if foreign:
            files = "1 file" if foreign.total() == 1 else f"{foreign.total()} files"
            first = "" if foreign.total() == 1 else "the first "
            raise WrongOwner(f"{files}, {first}{named[0]}", None, tuple(named))

    def pieces(
        self, ticket: RequestChallenge, request: ExportRequest
    ) -> Generator[bytes, None, None]:
        """Yield the ZIP. However it ends, one row of the log says so.

        Raises:
            NotHers: something that lies there is not hers; what was yielded is no ZIP.
            Unavailable: the disk or the log cannot be used.
        """
        logged = False
        count = 0
        digest = hashlib.sha256()
        try:
            with ZipWriter() as made, tempfile.TemporaryFile() as manifest:
                yield from made.add("READ-ME-FIRST.html", READ_ME.encode())
                for line, clip, data in self._clips(ticket.owner, request):
                    yield from made.add(f"clips/{clip}.earmark", data)
                    manifest.write(line)
                    digest.update(line)
                    count += 1
                yield from made.add_file("manifest.jsonl", manifest)
                devices = {device.name: device.key for device in self.holdings.roster().devices}
                yield from made.add("devices.json", _json(devices))
                logged = True
                head = self.holdings.log_outcome(ticket, count)
                with tempfile.TemporaryFile() as rows:
                    self._copy_log(ticket.owner, head, rows)
                    yield from made.add_file("access-log.jsonl", rows)
                signed = self.holdings.receipt(
                    "export", ticket, head, count=count, manifest_sha256=digest.hexdigest()
                )
                yield from made.add("receipt.json", _json(signed))
                yield from made.finish()
        except WrongOwner as error:
            logged = True
            self.holdings.log_outcome(ticket, count, outcome="not-hers", other=error.other)
            raise
        finally:
            if not logged:
                self.holdings.log_outcome(ticket, count, outcome="failed")

    def _clips(self, owner: str, request: ExportRequest) -> Iterator[tuple[bytes, str, bytes]]:
        first, last = time_span(request)
        for clip in self.door.candidates(owner):
            try:
                passed = self.door.fetch(owner, clip)
            except ClipNotFound:
                continue  # erased while we were at it
            header = passed.envelope.header
            if not first <= header.t < last or request.device not in {None, header.device}:
                continue
            line = {
                "bytes": len(passed.data),
                "clip": header.clip,
                "device": header.device,
                "okey": header.okey,
                "seq": header.seq,
                "sha256": passed.sha256,
                "t": header.t,
                "ttl_s": header.ttl_s,
            }
            yield _json(line), clip, passed.data

    def _copy_log(self, owner: str, head: LogHead, file: IO[bytes]) -> None:
        after = 0
        while after < head.n:
            for row in self.holdings.log.page(owner, after, min(_PAGE, head.n - after)):
                file.write(_json(row))
                after = row["n"]


def _json(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode() + b"\n"
