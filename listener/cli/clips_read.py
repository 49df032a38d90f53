"""``earmark clips list``, ``play`` and ``export``: list, play, download and decrypt clips."""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.clips import index_page
from listener.clips.exports import ExportReader
from listener.clips.schema import ListedClip, ListReply
from listener.clips.session import Session, open_own_clip, read_receipt, selection_fields
from listener.envelope.format import format_timestamp
from listener.envelope.open import OpenedClip
from listener.errors import BadEnvelope, EarmarkError, NotForYou, Unavailable, UsageError
from listener.quantities import quantity
from listener.rights import requests
from listener.rights.hash_chain import LogHead
from listener.storage.atomic import create_file, make_folders, part_file, sync_folder, write_atomic
from listener.storage.free_space import free_bytes
from listener.storage.owner_files import write_clip, write_new

MOST_BYTES: Final = 1 << 42
SPARE_BYTES: Final = 256 << 20
"""Space on the owner's disk that an export leaves free; the archive chooses its length."""
_UNCHECKED_BYTES: Final = 1 << 20
"""Bytes received between two looks at the disk."""
_REFRESH_S: Final = 0.2
_DEVICE_WIDTH: Final = 10
_HEADING: Final = f"{'LOCAL TIME':<19}  {'SPEAKER':<{_DEVICE_WIDTH}}  {'CLIP':<36}  SIZE"


def show_clips(arguments: argparse.Namespace, session: Session) -> int:
    """Print the clips, decrypted with ``--open``.

    Returns:
        0; 1 when a clip could not be decrypted.

    Raises:
        EarmarkError: the archive refuses, or does not answer.
    """
    failed = 0
    pages: list[ListReply] = []
    is_first = True
    for clip in session.list_clips(arguments, on_page=pages.append):
        row: dict[str, Any] = msgspec.to_builtins(clip)
        if arguments.open:
            try:
                row |= private_fields(fetch_clip(session, clip.clip, clip))
            except (BadEnvelope, NotForYou) as error:
                failed += 1
                row["closed"] = str(error)
        if is_first and not arguments.json:
            print(_HEADING)
        is_first = False
        print(json.dumps(row) if arguments.json else _as_text(row), flush=True)
    if is_first and not arguments.json:
        print("no clips")
    if pages and (hidden := pages[-1].quarantined):
        print(
            f"earmark: {hidden} more in your name do not verify and are in the archive's"
            " quarantine; earmark clips erase --all, or by time, erases them too",
            file=sys.stderr,
        )
    return 1 if failed else 0


def play_clip(arguments: argparse.Namespace, session: Session) -> int:
    """Play a clip, or write it as FLAC.

    Raises:
        EarmarkError: the archive refuses, or the clip cannot be played.
    """
    player = None
    if arguments.to is None:
        player = shutil.which("aplay")
        if player is None:
            raise Unavailable(
                "cannot play: aplay is not installed",
                "apt install alsa-utils, or write the clip with --to FILE.flac",
            )
    elif arguments.to == "-" and sys.stdout.isatty():
        raise UsageError("will not write FLAC to a terminal", "use --to FILE.flac, or a pipe")
    opened = fetch_clip(session, arguments.clip)
    if player is not None:
        _play(player, opened.flac)
    elif arguments.to == "-":
        sys.stdout.buffer.write(opened.flac)
        return 0
    else:
        write_new(Path(arguments.to), opened.flac)
    row = msgspec.to_builtins(opened.header) | private_fields(opened) | {"file": arguments.to}
    print(json.dumps(row) if arguments.json else _as_text(row))
    return 0


def fetch_clip(session: Session, clip: str, listed: ListedClip | None = None) -> OpenedClip:
    """Download a clip and decrypt it.

    Raises:
        BadEnvelope: it is a different clip, of another owner, or not from a known speaker.
        NotForYou: it is encrypted to a key that is not in the identity file.
        EarmarkError: the archive refuses, or does not answer.
    """
    opened = session.open(session.asker.get_envelope(clip))
    header = opened.header
    if header.clip != clip:
        raise BadEnvelope("the archive returned a different clip than requested")
    if listed is not None and (listed.t, listed.device) != (header.t, header.device):
        raise BadEnvelope("the archive's list does not match the clip's header")
    return opened


def private_fields(opened: OpenedClip) -> dict[str, Any]:
    """Return the encrypted part of a clip's metadata: wake word, score, length."""
    return dict(msgspec.to_builtins(opened.private))


def show_local(moment: str) -> str:
    """Return a time of a header in this computer's time zone, to the second."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def _as_text(row: dict[str, Any]) -> str:
    words = [show_local(row["t"]), f"{row['device']:<{_DEVICE_WIDTH}}", row["clip"]]
    if "size_bytes" in row:
        words.append(f"{row['size_bytes']} B")
    if "word" in row:
        words.append(f"{row['word']} at {row['score']:.2f}, {row['ms'] / 1000:.1f} s")
    if "closed" in row:
        words.append(f"not decrypted: {row['closed']}")
    return "  ".join(words)


def _play(player: str, flac: bytes) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="int16")
    wave = io.BytesIO()
    soundfile.write(wave, samples, rate_hz, format="WAV")
    done = subprocess.run(  # noqa: S603 - found on the path; the audio goes through a pipe
        [player, "-q", "-"], input=wave.getvalue(), stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise EarmarkError(
            "aplay could not play the clip", "check the loudspeaker, or use --to FILE.flac"
        )


class Progress:
    """Progress line of a transfer on a terminal; without a terminal it prints nothing."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream if stream.isatty() else None
        self._next_s = 0.0

    def show(self, text: str) -> None:
        """Replace the line, at most five times a second."""
        now_s = time.monotonic()
        if self._stream is not None and now_s >= self._next_s:
            self._next_s = now_s + _REFRESH_S
            self._stream.write(f"\r\x1b[Kearmark: {text}")
            self._stream.flush()

    def end(self) -> None:
        """Erase the line."""
        if self._stream is not None and self._next_s:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def export(arguments: argparse.Namespace, session: Session) -> int:
    """Download the ZIP, verify it, decrypt it with ``--open``, then rename it to its final name.

    Returns:
        0; 1 when a clip could not be decrypted, or a stored file does not verify.

    Raises:
        EarmarkError: the archive refuses, or the export is not valid; no file is left.
        Unavailable: the transfer was interrupted, or the file cannot be written.
    """
    target = Path(arguments.to or f"{session.asker.owner}-clips.zip")
    if os.path.lexists(target):
        raise EarmarkError(f"{target} exists already", "choose another name with --to")
    key = session.archive_key()
    start = None if arguments.log_after is None else _head_of(Path(arguments.log_after), key)
    request = session.request(
        "export",
        **selection_fields(arguments),
        log_after=None if start is None else msgspec.to_builtins(start),
    )
    progress = Progress(sys.stderr)
    with _part_file(target) as path:
        try:
            with create_file(path) as file:
                _fetch(session, request, file, target.parent, progress)
            with ExportReader(path, key) as reader:
                if reader.log_start() != start:
                    raise EarmarkError("the archive returned another part of the log")
                result = _check(session, request, reader, arguments.open, progress)
        finally:
            progress.end()
        path.rename(target)
        sync_folder(target.parent)
    result = {"file": str(target), **result}
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{target}: {quantity(result['count'], 'clip')}, all verified")
        if arguments.open:
            print(f"{arguments.open}/index.html: {result['opened']} decrypted")
        print_left_out(result.get("left_out", []))
    return 1 if result.get("closed") or result.get("left_out") else 0


def print_left_out(clips: Sequence[str]) -> None:
    """Print the stored files that an export does not contain because they do not verify."""
    if clips:
        files = quantity(len(clips), "stored file")
        print(f"left out, because they do not verify for any owner: {files}")
        print("tell your household; their ids:")
    for clip in clips:
        print(f"  {clip}")


def _head_of(path: Path, key: Ed25519PublicKey) -> LogHead:
    """Return the head of the log in a receipt, or in an earlier export.

    Raises:
        EarmarkError: the file is not valid, or not signed by this archive.
        Unavailable: it cannot be read.
    """
    if zipfile.is_zipfile(path):
        with ExportReader(path, key) as earlier:
            return earlier.receipt.head
    return read_receipt(path, key).head


def _fetch(
    session: Session,
    request: requests.Request,
    file: IO[bytes],
    folder: Path,
    progress: Progress,
) -> None:
    if not isinstance(request, requests.ExportRequest):
        raise TypeError(request)
    received_bytes, checked_bytes = 0, 0
    for block in session.asker.get_export(request, MOST_BYTES):
        file.write(block)
        received_bytes += len(block)
        if received_bytes - checked_bytes >= _UNCHECKED_BYTES:
            checked_bytes = received_bytes
            if free_bytes(folder) < SPARE_BYTES:
                raise Unavailable(
                    f"the disk of {folder} is nearly full, after"
                    f" {received_bytes / 1e6:.0f} MB of the export",
                    "free some space, choose another disk with --to, or a shorter time with --from",
                )
        progress.show(f"{received_bytes / 1e6:.1f} MB")


def _check(
    session: Session,
    request: requests.Request,
    reader: ExportReader,
    folder: str | None,
    progress: Progress,
) -> dict[str, Any]:
    receipt = reader.receipt
    if (receipt.owner, receipt.request_sha256) != (session.asker.owner, requests.digest(request)):
        raise EarmarkError("the archive returned a different export than requested")
    session.known.pin_devices(reader.devices, reader.retired)
    reader.check_log(session.known_heads())
    rows = []
    for number, (line, data) in enumerate(reader.clips(reader.signers()), 1):
        progress.show(f"verified {number} of {receipt.count}")
        if folder is not None:
            rows.append(_open(session, msgspec.to_builtins(line), data, Path(folder)))
    session.known.record_head(receipt.head)
    result = {"count": receipt.count, "head": msgspec.to_builtins(receipt.head)}
    result["all_signed"] = reader.is_covered
    if left_out := [one.clip for one in reader.left_out()]:
        result["left_out"] = left_out
    if folder is None:
        return result
    rows.sort(key=lambda row: str(row["t"]))
    _write_index(session.asker.owner, rows, Path(folder))
    closed = sum("closed" in row for row in rows)
    return result | {"folder": folder, "opened": len(rows) - closed, "closed": closed}


def _open(session: Session, row: dict[str, Any], data: bytes, folder: Path) -> dict[str, Any]:
    try:
        opened = open_own_clip(
            data, session.asker.owner, session.asker.identities, session.known.signers()
        )
    except (BadEnvelope, NotForYou) as error:
        return row | {"closed": str(error)}
    return row | private_fields(opened) | {"file": write_clip(opened, folder).name}


def _write_index(owner: str, rows: list[dict[str, Any]], folder: Path) -> None:
    try:
        make_folders(folder)
    except OSError as error:
        raise Unavailable(f"cannot make {folder}: {error.strerror}") from error
    write_atomic(folder / "index.json", index_page.render_json(rows))
    write_atomic(
        folder / "index.html",
        index_page.render_html(owner, format_timestamp(datetime.now(UTC)), rows),
    )


@contextlib.contextmanager
def _part_file(target: Path) -> Iterator[Path]:
    """Yield the temporary name of ``target``; if the block fails, no file is left."""
    try:
        with part_file(target) as path:
            yield path
    except OSError as error:
        raise Unavailable(f"cannot write {target}: {error.strerror}") from error
