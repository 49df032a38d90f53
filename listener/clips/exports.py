"""The reader of exports: verifies a ZIP clip by clip against manifest, receipt and signatures.

The ZIP is untrusted. Nothing is extracted: entries are read by fixed names, each bounded in size.
"""

import errno
import hashlib
import itertools
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.clips.schema import ManifestLine
from listener.envelope import keys
from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.envelope.verify import verify_device
from listener.errors import BadEnvelope, ConfigError, EarmarkError, Unavailable
from listener.rights import hash_chain, receipts

PAGE: Final = "READ-ME-FIRST.html"
MANIFEST: Final = "manifest.jsonl"
DEVICES: Final = "devices.json"
LOG: Final = "access-log.jsonl"
RECEIPT: Final = "receipt.json"
LONGEST_LINE_BYTES: Final = 4096
_SMALL_BYTES: Final = 4 << 20
# The exceptions that zipfile raises for a damaged or hostile file.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    LookupError,
)


class ExportReader:
    """An open export. A context manager; for one thread.

    Args:
        path: the ZIP.
        archive: public key of the archive that must have signed the receipt.

    Raises:
        EarmarkError: it is incomplete, or not signed by this archive.
        Unavailable: it cannot be read.
    """

    def __init__(self, path: Path, archive: Ed25519PublicKey) -> None:
        self._path = path
        with self._translate_errors():
            self._zip = zipfile.ZipFile(path)
        try:
            self._entries = self._list_entries()
            self.receipt = receipts.parse_receipt(self._read_entry(RECEIPT), archive)
            self.devices = self._read_devices()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def log_start(self) -> hash_chain.LogHead | None:
        """Return the head after which the access log begins; None if it begins with row 1.

        Raises:
            EarmarkError: its first line is malformed.
        """
        fields = next(self._lines(LOG), None)
        return None if fields is None else hash_chain.parse_start(fields)

    def check_log(
        self,
        heads: Sequence[hash_chain.LogHead],
        on_row: Callable[[hash_chain.LogRow], None] | None = None,
    ) -> None:
        """Verify the hash chain of the access log, from its start up to the receipt's head.

        Args:
            heads: earlier heads that the log must contain, if it does not begin after them.
            on_row: called with each row.

        Raises:
            EarmarkError: the log was changed; the message names the first wrong row.
        """
        start = self.log_start()

        def rows() -> Iterator[hash_chain.LogRow]:
            for fields in itertools.islice(self._lines(LOG), 0 if start is None else 1, None):
                row = hash_chain.parse_row(fields)
                if on_row is not None:
                    on_row(row)
                yield row

        hash_chain.verify_chain(rows(), [self.receipt.head, *heads], before=start)

    def clips(
        self, devices: Mapping[str, Ed25519PublicKey]
    ) -> Iterator[tuple[ManifestLine, bytes]]:
        """Yield each verified clip as its manifest line and its sealed bytes.

        Args:
            devices: public keys of the trusted devices, by name.

        Raises:
            EarmarkError: a clip is missing, added, changed, or not the owner's.
        """
        left = {name for name in self._entries if name.startswith("clips/")}
        digest = hashlib.sha256()
        count = 0
        for raw in self._raw_lines(MANIFEST):
            digest.update(raw)
            line = self._parse_line(raw)
            name = f"clips/{line.clip}.earmark"
            if name not in left:
                raise self._error(f"clip {line.clip} is missing, or twice in the manifest")
            left.remove(name)
            count += 1
            yield line, self._clip(name, line, devices)
        if left:
            raise self._error(f"{len(left)} clips are not in the manifest")
        if (digest.hexdigest(), count) != (self.receipt.manifest_sha256, self.receipt.count):
            raise self._error("the manifest does not match the receipt")
        if self.receipt.kind != "export":
            raise self._error("its receipt is not for an export")

    def _clip(
        self, name: str, line: ManifestLine, devices: Mapping[str, Ed25519PublicKey]
    ) -> bytes:
        data = self._read_entry(name, ENVELOPE_LIMIT_BYTES)
        if hashlib.sha256(data).hexdigest() != line.sha256 or len(data) != line.bytes:
            raise self._error(f"clip {line.clip} does not match its hash in the manifest")
        try:
            header = verify_device(data, devices).header
        except BadEnvelope as error:
            raise self._error(f"clip {line.clip}: {error}") from error
        fields = (header.clip, header.device, header.seq, header.t, header.ttl_s, header.okey)
        if fields != (line.clip, line.device, line.seq, line.t, line.ttl_s, line.okey):
            raise self._error(f"the header of clip {line.clip} does not match the manifest")
        if header.owner != self.receipt.owner:
            raise self._error(f"clip {line.clip} does not belong to {self.receipt.owner}")
        return data

    def _list_entries(self) -> dict[str, zipfile.ZipInfo]:
        entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self._zip.infolist():
            if entry.filename in entries or entry.compress_type != zipfile.ZIP_STORED:
                raise self._error("an entry is duplicated or compressed")
            entries[entry.filename] = entry
        extra = [
            name
            for name in entries
            if name not in {PAGE, MANIFEST, DEVICES, LOG, RECEIPT} and not name.startswith("clips/")
        ]
        missing = {PAGE, MANIFEST, DEVICES, LOG, RECEIPT} - entries.keys()
        if extra or missing:
            raise self._error("entries are missing or unexpected")
        return entries

    def _read_devices(self) -> dict[str, str]:
        try:
            devices = msgspec.json.decode(self._read_entry(DEVICES), type=dict[str, str])
            for text in devices.values():
                keys.parse_device(text)
        except (ValueError, RecursionError, ConfigError) as error:
            raise self._error(f"{DEVICES} is malformed") from error
        return devices

    def _parse_line(self, raw: bytes) -> ManifestLine:
        try:
            return msgspec.json.decode(raw, type=ManifestLine)
        except (ValueError, RecursionError) as error:
            raise self._error(f"{MANIFEST} is malformed") from error

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return parse_lines(self._raw_lines(name))

    def _raw_lines(self, name: str) -> Iterator[bytes]:
        with self._translate_errors(), self._zip.open(self._entries[name]) as file:
            yield from raw_lines(file)

    def _read_entry(self, name: str, most_bytes: int = _SMALL_BYTES) -> bytes:
        with self._translate_errors(), self._zip.open(self._entries[name]) as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise self._error("an entry exceeds its size limit")
        return data

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except _ZIP_ERRORS as error:
            raise self._error("it is not a complete ZIP file") from error
        except OSError as error:
            if error.errno == errno.EINVAL:  # the ZIP names an offset before its beginning
                raise self._error("it is not a complete ZIP file") from error
            reason = error.strerror or error
            raise Unavailable(f"cannot read {self._path}: {reason}") from error

    def _error(self, detail: str) -> EarmarkError:
        return EarmarkError(
            f"the export {self._path} is not valid: {detail}",
            "delete it and run earmark clips export again",
        )


def raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines with their line ends, each of at most ``LONGEST_LINE_BYTES``.

    Raises:
        EarmarkError: a line is longer.
    """
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        if len(line) > LONGEST_LINE_BYTES:
            raise EarmarkError(f"a line is longer than {LONGEST_LINE_BYTES} bytes")
        yield line


def parse_lines(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines.

    Raises:
        EarmarkError: a line is not a JSON object; the message has its number.
    """
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EarmarkError(f"line {number} is not a row of an access log") from error
        if not isinstance(fields, dict):
            raise EarmarkError(f"line {number} is not a row of an access log")
        yield fields
