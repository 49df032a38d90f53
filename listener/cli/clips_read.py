"""``earmark clips list`` and ``play``: look at clips, and into them, where the owner's key is.

``earmark clips export``: take all of it home, check it, and open it there.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import soundfile

from listener.clips import index_page
from listener.clips.exports import ExportReader
from listener.clips.schema import ListedClip
from listener.clips.session import Session, open_own_clip, selection_fields
from listener.envelope import keys
from listener.envelope.format import format_timestamp
from listener.envelope.open import OpenedClip
from listener.errors import BadEnvelope, EarmarkError, NotForYou, Unavailable, UsageError
from listener.rights import requests
from listener.storage.atomic import create_file, part_file, sync_folder, write_atomic
from listener.storage.owner_files import write_clip, write_new


def show_clips(arguments: argparse.Namespace, desk: Session) -> int:
    """List the clips, opened where that is asked for.

    Returns:
        0; 1 when a clip could not be opened.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    failed = 0
    for clip in desk.list_clips(arguments):
        row: dict[str, Any] = msgspec.to_builtins(clip)
        if arguments.open:
            try:
                row |= private_fields(fetch_clip(desk, clip.clip, clip))
            except (BadEnvelope, NotForYou) as error:
                failed += 1
                row["closed"] = str(error)
        print(json.dumps(row) if arguments.json else _as_text(row), flush=True)
    return 1 if failed else 0


def play_clip(arguments: argparse.Namespace, desk: Session) -> int:
    """Let a clip be heard, or write it.

    Raises:
        EarmarkError: the archive says no, or nothing here plays.
    """
    player = None
    if arguments.to is None:
        player = shutil.which("aplay")
        if player is None:
            raise Unavailable(
                "nothing here plays sound: aplay is not installed",
                "--to FILE.flac writes it; --to - hands it on, to any player",
            )
    elif arguments.to == "-" and sys.stdout.isatty():
        raise UsageError("a terminal plays no FLAC", "--to FILE.flac, or a pipe")
    opened = fetch_clip(desk, arguments.clip)
    if player is not None:
        _play(player, opened.flac)
    elif arguments.to == "-":
        sys.stdout.buffer.write(opened.flac)
        return 0
    else:
        write_new(Path(arguments.to), opened.flac)
    told = msgspec.to_builtins(opened.header) | private_fields(opened) | {"file": arguments.to}
    print(json.dumps(told) if arguments.json else _as_text(told))
    return 0


def fetch_clip(desk: Session, clip: str, listed: ListedClip | None = None) -> OpenedClip:
    """Fetch a clip and open it here.

    Raises:
        BadEnvelope: it is not that clip, or not one of hers that a known speaker made.
        NotForYou: it is sealed to a key that is not in the identity.
        EarmarkError: the archive says no, or does not answer.
    """
    opened = desk.open(desk.asker.get_envelope(clip))
    header = opened.header
    if header.clip != clip:
        raise BadEnvelope("the archive handed out another clip than the one asked for")
    if listed is not None and (listed.t, listed.device) != (header.t, header.device):
        raise BadEnvelope("the archive's list says something else than the clip")
    return opened


def private_fields(opened: OpenedClip) -> dict[str, Any]:
    """Return what only the owner can read."""
    return dict(msgspec.to_builtins(opened.private))


def _as_text(row: dict[str, Any]) -> str:
    words = [row["t"], row["device"], row["clip"]]
    if "size_bytes" in row:
        words.append(f"{row['size_bytes']} B")
    if "word" in row:
        words.append(f"{row['word']} at {row['score']:.2f}, {row['ms'] / 1000:.1f} s")
    if "closed" in row:
        words.append(f"closed: {row['closed']}")
    return "  ".join(words)


def _play(player: str, flac: bytes) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="int16")
    wave = io.BytesIO()
    soundfile.write(wave, samples, rate_hz, format="WAV")
    done = subprocess.run(  # noqa: S603 - found on the path; the sound goes through a pipe
        [player, "-q", "-"], input=wave.getvalue(), stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise EarmarkError(
            "aplay could not play it", "is a loudspeaker there? --to FILE.flac writes the clip"
        )


MOST_BYTES: Final = 1 << 42
_TURN_S: Final = 0.2


class Progress:
    """Says on a terminal how far a long transfer is; elsewhere nothing."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream if stream.isatty() else None
        self._next_s = 0.0

    def show(self, text: str) -> None:
        """Replace the line, a few times a second at most."""
        now_s = time.monotonic()
        if self._stream is not None and now_s >= self._next_s:
            self._next_s = now_s + _TURN_S
            self._stream.write(f"\r\x1b[Kearmark: {text}")
            self._stream.flush()

    def end(self) -> None:
        """Leave a clean line."""
        if self._stream is not None and self._next_s:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def export(arguments: argparse.Namespace, desk: Session) -> int:
    """Fetch the ZIP, check it, open it where that is asked for; only then has it its name.

    Returns:
        0; 1 when a clip could not be opened.

    Raises:
        EarmarkError: the archive says no, or what came is not sound; no file is left then.
        Unavailable: it broke off, or cannot be written.
    """
    target = Path(arguments.to or f"{desk.asker.owner}-clips.zip")
    if os.path.lexists(target):
        raise EarmarkError(f"{target} is there already", "choose another name with --to")
    request = desk.request("export", **selection_fields(arguments))
    key = desk.archive_key()
    progress = Progress(sys.stderr)
    with _part_file(target) as path:
        try:
            with create_file(path) as file:
                _fetch(desk, request, file, progress)
            with ExportReader(path, key) as reader:
                told = _check(desk, request, reader, arguments.open, progress)
        finally:
            progress.end()
        path.rename(target)
        sync_folder(target.parent)
    told = {"file": str(target), **told}
    if arguments.json:
        print(json.dumps(told))
    else:
        print(f"{target}: {told['count']} clips, each of them checked")
        if arguments.open:
            print(f"{arguments.open}/index.html: {told['opened']} of them opened")
    return 1 if told.get("closed") else 0


def _fetch(desk: Session, request: requests.Request, file: IO[bytes], progress: Progress) -> None:
    if not isinstance(request, requests.ExportRequest):
        raise TypeError(request)
    got = 0
    for piece in desk.asker.get_export(request, MOST_BYTES):
        file.write(piece)
        got += len(piece)
        progress.show(f"{got / 1e6:.1f} MB")


def _check(
    desk: Session,
    request: requests.Request,
    reader: ExportReader,
    folder: str | None,
    progress: Progress,
) -> dict[str, Any]:
    said = reader.receipt
    if (said.owner, said.request_sha256) != (desk.asker.owner, requests.digest(request)):
        raise EarmarkError("the archive sent another export than the one asked for")
    desk.known.pin_devices(reader.devices)
    reader.check_log(desk.known_heads())
    devices = {name: keys.parse_device(text) for name, text in reader.devices.items()}
    rows = []
    for number, (line, data) in enumerate(reader.clips(devices), 1):
        progress.show(f"checked {number} of {said.count}")
        if folder is not None:
            rows.append(_open(desk, msgspec.to_builtins(line), data, Path(folder)))
    desk.known.record_head(said.head)
    told = {"count": said.count, "head": msgspec.to_builtins(said.head)}
    if folder is None:
        return told
    rows.sort(key=lambda row: str(row["t"]))
    _write_index(desk.asker.owner, rows, Path(folder))
    closed = sum("closed" in row for row in rows)
    return told | {"folder": folder, "opened": len(rows) - closed, "closed": closed}


def _open(desk: Session, row: dict[str, Any], data: bytes, folder: Path) -> dict[str, Any]:
    try:
        opened = open_own_clip(data, desk.asker.owner, desk.asker.identities, desk.known.devices())
    except (BadEnvelope, NotForYou) as error:
        return row | {"closed": str(error)}
    return row | private_fields(opened) | {"file": write_clip(opened, folder).name}


def _write_index(owner: str, rows: list[dict[str, Any]], folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
