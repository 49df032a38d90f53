"""The reader of exports: verifies a ZIP clip by clip against manifest, receipt and signatures.

The ZIP is untrusted. Nothing is extracted: entries are read by fixed names, each bounded in size.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener import strict_json
from listener.clips.schema import LeftOutFile, ManifestLine, RetiredKey
from listener.clips.zip_reader import ZipReader
from listener.envelope import keys
from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.envelope.verify import DeviceKeys, TrustedKey, verify_device
from listener.errors import BadEnvelope, ConfigError, EarmarkError, Unavailable
from listener.quantities import quantity
from listener.rights import hash_chain, receipts
from listener.rights.export_page import PAGE_NAME, is_known_page

MANIFEST: Final = "manifest.jsonl"
DEVICES: Final = "devices.json"
RETIRED: Final = "retired-devices.json"
"""Keys of removed speakers that signed clips of the export; only if there are any."""
LEFT_OUT: Final = "left-out.jsonl"
"""Stored files that verify for no owner, which the export does not contain; only if any."""
LOG: Final = "access-log.jsonl"
RECEIPT: Final = "receipt.json"
REQUIRED: Final = frozenset({PAGE_NAME, MANIFEST, DEVICES, LOG, RECEIPT})
OPTIONAL: Final = frozenset({RETIRED, LEFT_OUT})
LONGEST_LINE_BYTES: Final = 4096
_SMALL_BYTES: Final = 4 << 20
_PIECE_BYTES: Final = 1 << 16
_CLIP_NAME: Final = re.compile(
    r"clips/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.earmark"
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
            self._file = path.open("rb")
        try:
            with self._translate_errors():
                self._zip = ZipReader(self._file)
            self._check_names()
            self._read_statements(archive)
            self._check_page()
            self.devices = self._read_devices()
            self.retired = self._read_retired()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_covered(self) -> bool:
        """True if the archive signed the hash of every file; False for exports before that."""
        return self._contents is not None

    def signers(self) -> dict[str, tuple[TrustedKey, ...]]:
        """Return the keys of the speakers that may have signed its clips, by name."""
        found: dict[str, tuple[TrustedKey, ...]] = {
            name: (TrustedKey(keys.parse_device(text)),) for name, text in self.devices.items()
        }
        for retired in self.retired:
            found[retired.name] = (*found.get(retired.name, ()), retired.trusted())
        return found

    def left_out(self) -> Iterator[LeftOutFile]:
        """Yield the stored files that the export does not contain.

        Raises:
            EarmarkError: the list is malformed.
        """
        if LEFT_OUT in self._zip.entries:
            for raw in self._raw_lines(LEFT_OUT):
                try:
                    yield strict_json.decode(raw, LeftOutFile)
                except ValueError as error:
                    raise self._error(f"{LEFT_OUT} is malformed") from error

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

    def clips(self, devices: DeviceKeys) -> Iterator[tuple[ManifestLine, bytes]]:
        """Yield each verified clip as its manifest line and its sealed bytes.

        Args:
            devices: public keys of the trusted devices, by name.

        Raises:
            EarmarkError: a clip is missing, added, changed, or not the owner's.
        """
        left = {name for name in self._zip.entries if name.startswith("clips/")}
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
            raise self._error(f"{quantity(len(left), 'clip is', 'clips are')} not in the manifest")
        if (digest.hexdigest(), count) != (self.receipt.manifest_sha256, self.receipt.count):
            raise self._error("the manifest does not match the receipt")
        if self.receipt.kind != "export":
            raise self._error("its receipt is not for an export")

    def _clip(self, name: str, line: ManifestLine, devices: DeviceKeys) -> bytes:
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

    def _check_names(self) -> None:
        files = {name for name in self._zip.entries if _CLIP_NAME.fullmatch(name) is None}
        if files - REQUIRED - OPTIONAL or REQUIRED - files:
            raise self._error("entries are missing or unexpected")

    def _read_statements(self, archive: Ed25519PublicKey) -> None:
        """Verify the receipt and, where the archive signed them, the hashes of the other files."""
        data = self._read_entry(RECEIPT)
        self.receipt = receipts.parse_receipt(data, archive)
        self._contents = receipts.parse_contents(data, self.receipt, archive)
        if self._contents is None:
            return
        files = {name for name in self._zip.entries if _CLIP_NAME.fullmatch(name) is None}
        if self._contents.files.keys() != files - {RECEIPT}:
            raise self._error("the archive signed the hashes of other files")
        for name, sha256 in self._contents.files.items():
            digest = hashlib.sha256()
            with self._translate_errors():
                for piece in self._zip.open(name):
                    digest.update(piece)
            if digest.hexdigest() != sha256:
                raise self._error(f"{name} does not match its signed hash")

    def _check_page(self) -> None:
        """Refuse a page that Earmark did not write: a person opens it with their key at hand."""
        if not is_known_page(self._read_entry(PAGE_NAME)):
            raise EarmarkError(
                f"{PAGE_NAME} in the export {self._path} is not a page that Earmark writes",
                "do not open it; update Earmark on this computer, and tell your household if this"
                " remains",
            )

    def _read_devices(self) -> dict[str, str]:
        try:
            devices = strict_json.decode(self._read_entry(DEVICES), dict[str, str])
            for text in devices.values():
                keys.parse_device(text)
        except (ValueError, ConfigError) as error:
            raise self._error(f"{DEVICES} is malformed") from error
        return devices

    def _read_retired(self) -> tuple[RetiredKey, ...]:
        if RETIRED not in self._zip.entries:
            return ()
        try:
            retired = strict_json.decode(self._read_entry(RETIRED), tuple[RetiredKey, ...])
            for one in retired:
                one.trusted()
        except (ValueError, ConfigError) as error:
            raise self._error(f"{RETIRED} is malformed") from error
        return retired

    def _parse_line(self, raw: bytes) -> ManifestLine:
        try:
            return strict_json.decode(raw, ManifestLine)
        except ValueError as error:
            raise self._error(f"{MANIFEST} is malformed") from error

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return parse_lines(self._raw_lines(name))

    def _raw_lines(self, name: str) -> Iterator[bytes]:
        with self._translate_errors():
            yield from _split_lines(self._zip.open(name))

    def _read_entry(self, name: str, most_bytes: int = _SMALL_BYTES) -> bytes:
        if self._zip.entries[name].size > most_bytes:
            raise self._error("an entry exceeds its size limit")
        with self._translate_errors():
            return b"".join(self._zip.open(name))

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise self._error(f"it is not an export's ZIP file: {error}") from error
        except OSError as error:
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
    yield from _split_lines(iter(partial(file.read, _PIECE_BYTES), b""))


def _split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield _limited(line + b"\n")
        _limited(rest)
    if rest:
        yield rest


def _limited(line: bytes) -> bytes:
    if len(line) > LONGEST_LINE_BYTES:
        raise EarmarkError(f"a line is longer than {LONGEST_LINE_BYTES} bytes")
    return line


def parse_lines(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines.

    Raises:
        EarmarkError: a line is not a JSON object; the message has its number.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield strict_json.decode_object(line)
        except ValueError as error:
            raise EarmarkError(f"line {number} is not a row of an access log") from error
