"""``earmark demo``: plays a recorded scene through hear, send, a broker and an archive."""

import argparse
import concurrent.futures
import contextlib
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from listener.cli import demo_browse
from listener.cli.demo_command import (
    LEFT_OUT,
    CommandStage,
    find_model,
    running_assist,
    show_command,
)
from listener.cli.demo_voices import play_voices, show_voices
from listener.cli.main import with_examples
from listener.config import Config
from listener.demo import checks, output, scene
from listener.demo.broker import CapturedMessage, run_broker, run_wiretap
from listener.demo.checks import ClaimChecks, events_of_kind
from listener.demo.households import KEEPER, OWNERS, CommandResult, DemoHouseholds
from listener.demo.output import Transcript
from listener.demo.player import Event, play_scene
from listener.demo.scene import Scene
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.quantities import quantity
from listener.spool.queue import Spool

DELIVERY_S: Final = 120.0
SLOW_S: Final = 120.0  # time for hear beyond the length of the scene, on a slow machine
_TURN_S: Final = 0.1
_FOLDER: Final = "demo-clips"
_OTHER: Final = OWNERS[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark demo``."""
    parser.epilog = with_examples(
        "A recorded scene of one minute is played to hear. Its clips go through an MQTT broker\n"
        "into an archive, where the owner decrypts them; two others try and fail. Everything runs\n"
        "on this machine, in a temporary folder. Then a spoken command switches a lamp, if the\n"
        "speech model is in the data directory: earmark assist models. Each printed statement is\n"
        "checked; if one does not hold, it is named and the exit code is 1.",
        "earmark demo",
        "earmark demo --fast --to /tmp/clips",
        "earmark demo --keep demo-homes",
        "earmark demo --browse",
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="process the scene as fast as possible instead of in real time",
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        help="create data directories, keys and logs in DIR, which must not exist, and keep them",
    )
    parser.add_argument(
        "--to",
        metavar="DIR",
        default=_FOLDER,
        help=f"folder for the decrypted clips (default: {_FOLDER})",
    )
    parser.add_argument(
        "--browse",
        action="store_true",
        help="play nothing, and show the clips of the last demonstration in a browser",
    )
    parser.add_argument(
        "--no-open", action="store_true", help="with --browse: print the address, open no browser"
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Play the scene, print the transcript and check each statement.

    Raises:
        EarmarkError: a statement does not hold, or a part of the demonstration failed.
    """
    if arguments.browse:
        return demo_browse.browse(arguments)
    to = Path(arguments.to)
    _make(to)
    page = Transcript()
    checked = ClaimChecks()
    with (
        _interrupt_on_sigterm(),
        _folder(arguments.keep) as root,
        run_broker() as port,
        contextlib.closing(page),
        contextlib.ExitStack() as stack,
    ):
        homes = DemoHouseholds(root)
        stage = scene.load_scene()
        page.line("scene", f"{stage.length_s:.0f} s: {stage.about}")
        page.moving("setting up: keys, owners, a speaker, an archive, a broker")
        homes.prepare(port)
        # The rest of the configuration is the demonstration's own.
        model, reason = _find_model(Path(settings.home))
        # The other parts are prepared while the scene is played: one after the other, for the
        # machine may be small.
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        prepared: concurrent.futures.Future[str] | None = None
        if model is not None:
            prepared = pool.submit(homes.prepare_command, port, model)
        played = pool.submit(play_voices, homes, port, is_fast=arguments.fast)
        with run_wiretap(port) as passed:
            events = _hear(homes, stage, page, is_fast=arguments.fast)
        page.moving("waiting for the scene of three voices")
        voices = played.result()
        part: CommandStage | None = None
        if prepared is not None:
            part = CommandStage(homes, page, checked, port, prepared.result())
            stack.enter_context(running_assist(homes))
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
        show_voices(voices, homes, page, checked)
        if part is not None:
            show_command(part)
        if reason is not None:
            page.line("lamp", f"{LEFT_OUT}: {reason}")
            page.line("", f"hint: {reason.hint}")
        checked.raise_on_failure()
        if arguments.keep:
            page.line("kept", f"data directories, keys and logs are in {arguments.keep}")
        demo_browse.keep_household(homes, to)
        page.line("browser", demo_browse.command(to, _FOLDER))
    return 0


def _find_model(home: Path) -> tuple[Path | None, EarmarkError | None]:
    """Return the folder of the speech model, or why there is none."""
    try:
        return find_model(home), None
    except EarmarkError as error:
        return None, error


def _hear(homes: DemoHouseholds, stage: Scene, page: Transcript, *, is_fast: bool) -> list[Event]:
    """Run hear, send and archive until the archive has every clip; return hear's events."""

    def show(event: Event) -> None:
        if text := output.format_event(event):
            page.line("hear", text)

    def moment(time_s: float) -> None:
        if is_fast:
            page.moving(f"playing {stage.length_s:.0f} s as fast as possible")
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
        # A process that exited early is reported when this block ends.
        while spool.waiting() and archive.poll() is None and send.poll() is None:
            if time.monotonic() > until_s:
                raise Unavailable(
                    "the archive did not receive the clips", f"see the logs in {homes.root}"
                )
            time.sleep(_TURN_S)
    return events


def _show_total(page: Transcript, total: Event) -> None:
    page.line(
        "total",
        f"heard {total.get('heard_s', 0):.1f} s: discarded {total.get('discarded_s', 0):.1f} s,"
        f" encrypted {total.get('sealed_s', 0):.1f} s",
    )


def _show_wire(page: Transcript, passed: list[CapturedMessage]) -> None:
    clips = {message.topic for message in passed if message.is_clip}  # a clip may be sent twice
    rest_bytes = sum(len(message.payload) for message in passed if not message.is_clip)
    page.line(
        "broker",
        f"carried {quantity(len(clips), 'encrypted clip')}, and {rest_bytes:,} bytes without"
        " audio or names",
    )


def _show_archive(
    homes: DemoHouseholds, sealed: list[Event], page: Transcript, checked: ClaimChecks
) -> list[dict[str, Any]]:
    """Print what the archive stores; return its list of clips."""
    page.moving("listing the archive")
    listed = homes.run_checked(homes.archive, "archive", "list", "--json").out
    kept: list[dict[str, Any]] = [json.loads(line) for line in listed.splitlines()]
    sent = {(event["clip"], event["owner"], event["bytes"]) for event in sealed}
    checked.check(
        "the archive has exactly the clips that were sent",
        when=bool(kept) and {(k["clip"], k["owner"], k["size_bytes"]) for k in kept} == sent,
    )
    size_bytes = sum(clip["size_bytes"] for clip in kept)
    page.line(
        "archive",
        f"stores {quantity(len(kept), 'clip')}, {size_bytes:,} bytes, and cannot decrypt them",
    )
    return kept


def _show_owner(
    homes: DemoHouseholds,
    kept: list[dict[str, Any]],
    to: Path,
    page: Transcript,
    checked: ClaimChecks,
) -> list[Path]:
    """Decrypt the keeper's clips; return the files."""
    page.moving(f"{KEEPER} decrypts the clips")
    clips = [clip["clip"] for clip in kept]
    done = _open(homes, KEEPER, to, *clips)
    files = [Path(json.loads(line)["file"]) for line in done.out.splitlines()]
    checked.check(f"{KEEPER} decrypts every clip", when=done.code == 0 and len(files) == len(clips))
    page.line(KEEPER, f"decrypts {len(files)} of {len(clips)} with the secret key:")
    for file in files:
        page.line("", str(file))
    return files


def _show_others(homes: DemoHouseholds, clip: str, page: Transcript, checked: ClaimChecks) -> None:
    """Try to decrypt with another owner's key, and with a copy relabelled for that owner."""
    elsewhere = homes.root / _OTHER / "clips"
    page.moving(f"{_OTHER} tries to decrypt a clip")
    done = _open(homes, _OTHER, elsewhere, clip)
    checked.check(
        f"{_OTHER} cannot decrypt it", when=done.code == 1 and "sealed to" in done.complaint
    )
    page.line(_OTHER, f"cannot decrypt one: {done.complaint}")

    page.moving("a thief tries to decrypt a clip")
    owners = homes.run_checked(homes.archive, "owner", "list", "--json").out.splitlines()
    okeys = {owner["owner"]: owner["okey"] for owner in map(json.loads, owners)}
    (path,) = homes.archive.rglob(f"{clip}.earmark")
    copy = homes.root / "relabelled.earmark"
    copy.write_bytes(checks.relabel(path.read_bytes(), owner=_OTHER, okey=okeys[_OTHER]))
    tries = [_open(homes, owner, elsewhere, str(copy)) for owner in (_OTHER, KEEPER)]
    checked.check(
        "a relabelled copy cannot be decrypted",
        when=all(one.code == 1 and "sealed to" not in one.complaint for one in tries),
    )
    checked.check(
        f"no audio was written for {_OTHER}", when=not any((homes.root / _OTHER).rglob("*.flac"))
    )
    page.line("thief", f"relabels it to {_OTHER}: refused, {tries[0].complaint}")


def _open(homes: DemoHouseholds, owner: str, to: Path, *what: str) -> CommandResult:
    identity = str(homes.identity(owner))
    return homes.run(
        homes.archive, "archive", "open", *what, "--identity", identity, "--to", str(to), "--json"
    )


def _make(folder: Path) -> None:
    """Create the folder for the clips, so that an error shows at the start."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Unavailable(
            f"cannot write into {folder}: {error.strerror}", "choose another folder with --to"
        ) from error


@contextlib.contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, so that children are ended and the folder is removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _folder(named: str | None) -> Iterator[Path]:
    """Create the folder named, or a temporary one."""
    if named is None:
        # The kernel's limit for the path of the notice socket is 107 bytes.
        with tempfile.TemporaryDirectory(prefix="earmark-") as made:
            yield Path(made)
        return
    path = Path(named).absolute()
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise UsageError(
            f"{named} exists already", "choose a folder that does not exist"
        ) from error
    yield path
