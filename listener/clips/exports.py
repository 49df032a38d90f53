"""Read an export: a ZIP of which nothing is believed before it is checked, clip by clip.

Nothing is unpacked: entries are read by names that are known beforehand, each bounded in size.
"""

import errno
import hashlib
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
# zipfile's own list of what a damaged or hostile file makes it raise.
_NO_ZIP: Final = (
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
    """An open export. A context; for one thread.

    Args:
        path: the ZIP.
        archive: the key of the archive that must have signed its receipt.

    Raises:
        EarmarkError: it is not whole, or not this archive's.
        Unavailable: it cannot be read.
    """

    def __init__(self, path: Path, archive: Ed25519PublicKey) -> None:
        self._path = path
        with self._translate_errors():
            self._zip = zipfile.ZipFile(path)
        try:
            self._entries = self._named()
            self.receipt = receipts.parse_receipt(self._small(RECEIPT), archive)
            self.devices = self._devices()
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def check_log(
        self,
        heads: Sequence[hash_chain.LogHead],
        see: Callable[[hash_chain.LogRow], None] | None = None,
    ) -> None:
        """Recompute the chain of the access log, up to the receipt's head.

        Args:
            heads: those that are known from elsewhere and lie before it.
            see: is shown each row.

        Raises:
            EarmarkError: it is not what was written; the first wrong row is named.
        """

        def rows() -> Iterator[hash_chain.LogRow]:
            for fields in self._lines(LOG):
                row = hash_chain.parse_row(fields)
                if see is not None:
                    see(row)
                yield row

        hash_chain.verify_chain(rows(), [self.receipt.head, *heads])

    def clips(
        self, devices: Mapping[str, Ed25519PublicKey]
    ) -> Iterator[tuple[ManifestLine, bytes]]:
        """Yield each clip, sealed, and what the manifest says of it, once both agree.

        Args:
            devices: whose signatures to believe.

        Raises:
            EarmarkError: a clip is missing, too many, changed, or not for whom it was made.
        """
        left = {name for name in self._entries if name.startswith("clips/")}
        digest = hashlib.sha256()
        count = 0
        for raw in self._raw_lines(MANIFEST):
            digest.update(raw)
            line = self._line(raw)
            name = f"clips/{line.clip}.earmark"
            if name not in left:
                raise self._error(f"clip {line.clip} is missing or twice in the manifest")
            left.remove(name)
            count += 1
            yield line, self._clip(name, line, devices)
        if left:
            raise self._error(f"{len(left)} clips are in no manifest")
        if (digest.hexdigest(), count) != (self.receipt.manifest_sha256, self.receipt.count):
            raise self._error("the manifest is not the one that the archive signed")
        if self.receipt.kind != "export":
            raise self._error("its receipt is for something else")

    def _clip(
        self, name: str, line: ManifestLine, devices: Mapping[str, Ed25519PublicKey]
    ) -> bytes:
        data = self._small(name, ENVELOPE_LIMIT_BYTES)
        if hashlib.sha256(data).hexdigest() != line.sha256 or len(data) != line.bytes:
            raise self._error(f"clip {line.clip} is not the one in the manifest")
        try:
            header = verify_device(data, devices).header
        except BadEnvelope as error:
            raise self._error(f"clip {line.clip}: {error}") from error
        told = (header.clip, header.device, header.seq, header.t, header.ttl_s, header.okey)
        if told != (line.clip, line.device, line.seq, line.t, line.ttl_s, line.okey):
            raise self._error(f"clip {line.clip} is not what the manifest says")
        if header.owner != self.receipt.owner:
            raise self._error(f"clip {line.clip} is not {self.receipt.owner}'s")
        return data

    def _named(self) -> dict[str, zipfile.ZipInfo]:
        found = {}
        for entry in self._zip.infolist():
            if entry.filename in found or entry.compress_type != zipfile.ZIP_STORED:
                raise self._error("an entry is there twice, or packed")
            found[entry.filename] = entry
        extra = [
            name
            for name in found
            if name not in {PAGE, MANIFEST, DEVICES, LOG, RECEIPT} and not name.startswith("clips/")
        ]
        missing = {PAGE, MANIFEST, DEVICES, LOG, RECEIPT} - found.keys()
        if extra or missing:
            raise self._error("entries are missing, or foreign ones are inside")
        return found

    def _devices(self) -> dict[str, str]:
        try:
            devices = msgspec.json.decode(self._small(DEVICES), type=dict[str, str])
            for text in devices.values():
                keys.parse_device(text)
        except (ValueError, RecursionError, ConfigError) as error:
            raise self._error("its list of devices is none") from error
        return devices

    def _line(self, raw: bytes) -> ManifestLine:
        try:
            return msgspec.json.decode(raw, type=ManifestLine)
        except (ValueError, RecursionError) as error:
            raise self._error("its manifest is none") from error

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return parse_lines(self._raw_lines(name))

    def _raw_lines(self, name: str) -> Iterator[bytes]:
        with self._translate_errors(), self._zip.open(self._entries[name]) as file:
            yield from raw_lines(file)

    def _small(self, name: str, most_bytes: int = _SMALL_BYTES) -> bytes:
        with self._translate_errors(), self._zip.open(self._entries[name]) as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise self._error("an entry is too long to be what its name says")
        return data

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except _NO_ZIP as error:
            raise self._error("it is not a whole ZIP") from error
        except OSError as error:
            if error.errno == errno.EINVAL:  # it sent us to a place before its beginning
                raise self._error("it is not a whole ZIP") from error
            why = error.strerror or error
            raise Unavailable(f"cannot read {self._path}: {why}") from error

    def _error(self, why: str) -> EarmarkError:
        return EarmarkError(
            f"the export {self._path} is not sound: {why}", "export again, and believe none of it"
        )


def raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines with their ends, each of a length that a row can have.

    Raises:
        EarmarkError: one is longer.
    """
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        if len(line) > LONGEST_LINE_BYTES:
            raise EarmarkError("a line is too long to be one of an export or a log")
        yield line


def parse_lines(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield what JSON lines say.

    Raises:
        EarmarkError: one is no JSON object; the line is named.
    """
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EarmarkError(f"line {number} is no row of a log") from error
        if not isinstance(fields, dict):
            raise EarmarkError(f"line {number} is no row of a log")
        yield fields
