"""``earmark demo``: the whole promise on this machine, nothing plugged in, nothing set up."""

import argparse
import contextlib
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from listener.config import Config
from listener.demo import checks, output, scene
from listener.demo.broker import CapturedMessage, run_broker, run_wiretap
from listener.demo.checks import ClaimChecks, events_of_kind
from listener.demo.households import KEEPER, OWNERS, CommandResult, DemoHouseholds
from listener.demo.output import Transcript
from listener.demo.player import Event, play_scene
from listener.demo.scene import Scene
from listener.errors import Unavailable, UsageError
from listener.spool.queue import Spool

DELIVERY_S: Final = 120.0
SLOW_S: Final = 120.0  # what hear may take beyond the scene's length, on a slow machine
_TURN_S: Final = 0.1
_OTHER: Final = OWNERS[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``demo`` takes."""
    parser.epilog = (
        "A minute in a kitchen is played to a real listener; its clips go through a real broker\n"
        "into a real archive, all of it on this machine and in a folder that is removed after.\n"
        "What is printed was checked; if one fact does not hold, it is named and the exit is 1."
    )
    parser.add_argument(
        "--fast", action="store_true", help="hear as fast as possible instead of in real time"
    )
    parser.add_argument(
        "--keep", metavar="DIR", help="make the two homes, keys and logs there, and leave them"
    )
    parser.add_argument(
        "--to",
        metavar="DIR",
        default="demo-clips",
        help="where the opened clips go (default: demo-clips)",
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Play, show and check.

    Raises:
        EarmarkError: something that the demo shows does not hold, or a part of it failed.
    """
    del settings  # the demo brings its own
    to = Path(arguments.to)
    _make(to)
    page = Transcript()
    checked = ClaimChecks()
    with (
        _tidy(),
        _folder(arguments.keep) as root,
        run_broker() as port,
        contextlib.closing(page),
    ):
        homes = DemoHouseholds(root)
        stage = scene.load_scene()
        page.line("scene", f"{stage.length_s:.0f} s: {stage.about}")
        page.moving("setting up: keys, owners, a speaker, an archive, a broker")
        homes.prepare(port)
        with run_wiretap(port) as passed:
            events = _hear(homes, stage, page, is_fast=arguments.fast)
        checks.check_hearing(checked, stage, events, KEEPER)
        checks.check_disk(checked, homes.root)
        _show_total(page, (events_of_kind(events, "ended") or [{}])[-1])
        sealed = events_of_kind(events, "sealed")
        checks.check_wire(checked, passed, len(sealed), OWNERS)
        _show_wire(page, passed)
        kept = _show_archive(homes, sealed, page, checked)
        if kept:
            opened = _show_owner(homes, kept, to, page, checked)
            checks.check_sound(checked, stage, sealed, opened)
            _show_others(homes, kept[0]["clip"], page, checked)
        checked.raise_on_failure()
        if arguments.keep:
            page.line("kept", f"homes, keys and logs are in {arguments.keep}")
    return 0


def _hear(homes: DemoHouseholds, stage: Scene, page: Transcript, *, is_fast: bool) -> list[Event]:
    """Let hear, send and archive run until every clip is where it belongs."""

    def show(event: Event) -> None:
        if text := output.format_event(event):
            page.line("hear", text)

    def moment(time_s: float) -> None:
        if is_fast:
            page.moving(f"hearing {stage.length_s:.0f} s as fast as possible")
        else:
            page.moving(output.describe_moment(stage, time_s))

    options = ["--json", "--microphone", str(stage.file)]
    options += ["--mute", f"{stage.muted_from_s}-{stage.muted_to_s}"]
    options += ["--fast"] if is_fast else []
    with (
        homes.running(homes.archive, "archive") as archive,
        homes.running(homes.speaker, "send") as send,
    ):
        events = play_scene(
            homes.command_line(homes.speaker, "hear", *options),
            stage.length_s + SLOW_S,
            homes.root / "hear.log",
            on_event=show,
            on_moment=moment,
        )
        page.moving("waiting until the archive has every clip")
        spool = Spool(homes.speaker / "spool", Config().spool)
        until_s = time.monotonic() + DELIVERY_S
        # One that died is named when this block ends.
        while spool.waiting() and archive.poll() is None and send.poll() is None:
            if time.monotonic() > until_s:
                raise Unavailable("the archive does not get the clips", f"look into {homes.root}")
            time.sleep(_TURN_S)
    return events


def _show_total(page: Transcript, total: Event) -> None:
    page.line(
        "total",
        f"heard {total.get('heard_s', 0):.1f} s: thrown away {total.get('discarded_s', 0):.1f} s,"
        f" sealed {total.get('sealed_s', 0):.1f} s",
    )


def _show_wire(page: Transcript, passed: list[CapturedMessage]) -> None:
    clips = {one.topic for one in passed if one.is_clip}  # a clip may pass twice
    rest_bytes = sum(len(one.payload) for one in passed if not one.is_clip)
    page.line(
        "broker",
        f"carried {len(clips)} sealed clips, and {rest_bytes:,} bytes without a sound or a name",
    )


def _show_archive(
    homes: DemoHouseholds, sealed: list[Event], page: Transcript, checked: ClaimChecks
) -> list[dict[str, Any]]:
    """Return what the archive has."""
    page.moving("asking the archive")
    listed = homes.run_checked(homes.archive, "archive", "list", "--json").out
    kept: list[dict[str, Any]] = [json.loads(line) for line in listed.splitlines()]
    sent = {(event["clip"], event["owner"], event["bytes"]) for event in sealed}
    checked.check(
        "the archive has every clip, and no other",
        when=bool(kept) and {(k["clip"], k["owner"], k["size_bytes"]) for k in kept} == sent,
    )
    size_bytes = sum(one["size_bytes"] for one in kept)
    page.line("archive", f"has {len(kept)} clips, {size_bytes:,} bytes, and no key to any of them")
    return kept


def _show_owner(
    homes: DemoHouseholds,
    kept: list[dict[str, Any]],
    to: Path,
    page: Transcript,
    checked: ClaimChecks,
) -> list[Path]:
    """Let her open her clips; return the files."""
    page.moving(f"{KEEPER} opens her clips")
    clips = [one["clip"] for one in kept]
    done = _open(homes, KEEPER, to, *clips)
    files = [Path(json.loads(line)["file"]) for line in done.out.splitlines()]
    checked.check(
        f"{KEEPER} opens every clip of hers", when=done.code == 0 and len(files) == len(clips)
    )
    page.line(KEEPER, f"opens {len(files)} of {len(clips)} with her key:")
    for file in files:
        page.line("", str(file))
    return files


def _show_others(homes: DemoHouseholds, clip: str, page: Transcript, checked: ClaimChecks) -> None:
    """Let him try, and somebody relabel a copy for him."""
    elsewhere = homes.root / _OTHER / "clips"
    page.moving(f"{_OTHER} tries to")
    done = _open(homes, _OTHER, elsewhere, clip)
    checked.check(f"{_OTHER} cannot open it", when=done.code == 1 and "sealed to" in done.complaint)
    page.line(_OTHER, f"cannot: {done.complaint}")

    page.moving("and a thief")
    owners = homes.run_checked(homes.archive, "owner", "list", "--json").out.splitlines()
    okeys = {owner["owner"]: owner["okey"] for owner in map(json.loads, owners)}
    (path,) = homes.archive.rglob(f"{clip}.earmark")
    copy = homes.root / "relabelled.earmark"
    copy.write_bytes(checks.relabel(path.read_bytes(), owner=_OTHER, okey=okeys[_OTHER]))
    tries = [_open(homes, owner, elsewhere, str(copy)) for owner in (_OTHER, KEEPER)]
    checked.check(
        "a relabelled copy opens to nobody",
        when=all(one.code == 1 and "sealed to" not in one.complaint for one in tries),
    )
    checked.check(
        f"nothing came out for {_OTHER}", when=not any((homes.root / _OTHER).rglob("*.flac"))
    )
    page.line("thief", f"relabels it as {_OTHER}'s: refused, {tries[0].complaint}")


def _open(homes: DemoHouseholds, owner: str, to: Path, *what: str) -> CommandResult:
    identity = str(homes.identity(owner))
    return homes.run(
        homes.archive, "archive", "open", *what, "--identity", identity, "--to", str(to), "--json"
    )


def _make(folder: Path) -> None:
    """Make the folder for the clips now, not after a minute."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Unavailable(
            f"cannot write into {folder}: {error.strerror}", "name another folder with --to"
        ) from error


@contextlib.contextmanager
def _tidy() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that no child and no folder is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _folder(named: str | None) -> Iterator[Path]:
    """Give a folder that is new: a temporary one, or the one that was named."""
    if named is None:
        # The kernel's limit for the path of the notice socket is 107 bytes.
        with tempfile.TemporaryDirectory(prefix="earmark-") as made:
            yield Path(made)
        return
    path = Path(named).absolute()
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise UsageError(f"{named} is there already", "name a folder that is not") from error
    yield path
