"""Floods beside the requests of an owner and the clips of another speaker.

For each flood one household runs in a process of its own, and while the flood lasts: every request
of the owner is served within 5 s, every clip of the honest speaker arrives, and the memory,
descriptors and logs of archive and broker stay within their limits.
"""

import argparse
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks.processes import earmark
from benchmarks.soak.cast import until
from listener.archive.http_server import LOCAL_LIMITS, NETWORK_LIMITS, SILENT_LIMITS
from listener.errors import EarmarkError
from tests.adversary import flood_generators as generators
from tests.adversary.flood_generators import Generator, Victim
from tests.adversary.flood_home import FloodHome, flood_home
from tests.adversary.request_load import ALLOWED_S, RequestLoad
from tests.adversary.vitals import MIB, Limits, Vitals, read_sample

REQUESTS: Final = 20
QUIET_REQUESTS: Final = 5
CLIPS: Final = 30
FIRST_CLIPS: Final = 12
REFUSED_CLIPS: Final = 300
"""Clips of the stolen speaker that the operator of the broker refuses in the archive's name."""
LANES: Final = 5
"""Number of floods at the same time, each on a household of its own."""
MOST_STORED_BYTES: Final = 320 * MIB
"""Envelopes that one stolen speaker may add to the archive in a run."""
ARCHIVE_LIMITS: Final = Limits(
    rss_bytes=128 * MIB,
    # As many connections as it admits, and some 20 for everything else.
    descriptors=SILENT_LIMITS.most + NETWORK_LIMITS.most + LOCAL_LIMITS.most + 20,
    log_bytes=2 * MIB,
    log_bytes_per_s=1_024,
)
SEND_LIMITS: Final = Limits(rss_bytes=64 * MIB)
BROKER_LIMITS: Final = Limits(
    rss_bytes=256 * MIB, growth_bytes=200 * MIB, descriptors=300, log_bytes_per_s=1e6
)
_SETTLE_S: Final = 60.0
_JOIN_S: Final = 30.0


class Flood(Protocol):
    """A flood, in processes or threads of its own."""

    @property
    def name(self) -> str:
        """Name in the table."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> int:
        """End; return the number of attempts."""


class ProcessFlood:
    """A generator in a process of its own, at the lowest priority.

    Args:
        name: name in the table.
        generator: called with the victim, the event that ends it, and a shared counter.
        victim: the household.
    """

    def __init__(self, name: str, generator: Generator, victim: Victim) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._stop = context.Event()
        self._count = context.Value("q", 0)
        self._process = context.Process(
            target=_generate, args=(generator, victim, self._stop, self._count), daemon=True
        )

    def start(self) -> None:
        """Start the process and wait until it has begun."""
        self._process.start()
        with suppress(EarmarkError):  # some floods wait for a first message
            until(lambda: self._count.value > 0, "the flood begins", 10.0)

    def stop(self) -> int:
        """End the process; return the number of attempts."""
        self._stop.set()
        self._process.join(15)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        number: int = self._count.value
        return number


def _generate(generator: Generator, victim: Victim, stop: Any, count: Any) -> None:  # noqa: ANN401 - typeshed has no public names for what a context makes
    os.nice(19)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    generator(victim, stop, count)


@dataclass(slots=True)
class FloodResult:
    """Result of one flood."""

    name: str
    attempts: int = 0
    faults: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """What was measured."""


Check = Callable[[FloodHome, float], tuple[list[str], str]]
"""Further check of one kind, after the flood: faults, and a line with what was measured."""


def check_refused_clips(home: FloodHome, _seconds: float) -> tuple[list[str], str]:
    """Every clip of the refused speaker still exists, or is counted as lost."""
    # While send runs, it moves clips between the places that are counted here one by one.
    home.stolen.send.end(signal.SIGTERM)
    spool = home.stolen.spool
    counts = spool.counts()
    folder = home.stolen.home.path / "spool" / "quarantine"
    aside = sum(1 for _ in folder.glob("*.earmark")) if folder.is_dir() else 0
    waiting = len(spool.waiting())
    known = waiting + aside + counts.acked + counts.dropped + counts.expired
    line = f"refused speaker: {waiting} wait, {aside} set aside, {counts.dropped} dropped"
    if known < REFUSED_CLIPS:
        return [f"{REFUSED_CLIPS - known} of {REFUSED_CLIPS} clips vanished uncounted"], line
    return [], line


def check_stored_bytes(home: FloodHome, _seconds: float) -> tuple[list[str], str]:
    """The stolen speaker has not filled the archive's disk."""
    folder = home.home.path / "archive"
    size = sum(path.stat().st_size for path in folder.rglob("*.earmark"))
    line = f"archive: {size / MIB:.0f} MiB of envelopes"
    return ([line] if size > MOST_STORED_BYTES else []), line


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of flood."""

    name: str
    generator: Generator
    check: Check | None = None
    refuses: bool = False
    """Whether the stolen speaker runs its own send, with clips that are refused."""
    joins: bool = False
    """Whether members join while it lasts."""


KINDS: Final = (
    Kind("open-challenges", generators.open_challenges),
    Kind("silent-tls", generators.silent_tls),
    Kind("silent-joiners", generators.silent_joiners, joins=True),
    Kind("log-rows", generators.log_rows),
    Kind("half-open-tcp", generators.half_open_tcp),
    Kind("forged-refusals", generators.forged_refusals, check_refused_clips, refuses=True),
    Kind("clip-flood", generators.clip_flood, check_stored_bytes),
    Kind("slow-bodies", generators.slow_bodies),
    Kind("reconnects", generators.reconnects),
    Kind("slow-headers", generators.slow_headers),
    Kind("retained-messages", generators.retained_messages),
    Kind("stalled-handshakes", generators.stalled_handshakes),
    Kind("unread-responses", generators.unread_responses),
    Kind("datagrams", generators.datagrams),
    Kind("garbage", generators.garbage),
)
"""In an order in which few neighbours need much of the processor."""
NAMES: Final = tuple(kind.name for kind in KINDS)


def run_flood(
    folder: Path, kind: Kind, seconds: float, allowed_s: float = ALLOWED_S
) -> FloodResult:
    """Run one flood against a household of its own, in this process.

    Args:
        folder: an empty folder.
        kind: the flood.
        seconds: its duration.
        allowed_s: longest time in which a request of the owner must be served. Where the same
            requests take more than a fifth of it without the flood, five times that.

    Raises:
        EarmarkError: the household does not start.
    """
    with flood_home(folder) as home:
        return _FloodRun(home, kind, seconds, allowed_s).run()


class _FloodRun:
    """One flood with its judgement. For one thread."""

    def __init__(self, home: FloodHome, kind: Kind, seconds: float, allowed_s: float) -> None:
        self._allowed_s = allowed_s
        self._home = home
        self._kind = kind
        self._seconds = seconds
        self._result = FloodResult(kind.name)
        self._archive, self._broker = Vitals("archive"), Vitals("broker")
        self._send = Vitals("send")
        self._sent: list[str] = []
        self._erased: set[str] = set()

    def run(self) -> FloodResult:
        home, result = self._home, self._result
        for _ in range(FIRST_CLIPS):
            self._put()
        until(lambda: not home.honest.spool.waiting(), "the first clips arrive", _SETTLE_S)
        self._measure_quiet()
        if self._kind.refuses:
            for _ in range(REFUSED_CLIPS):
                home.stolen.put(home.identities, "ada")
        flood: Flood = ProcessFlood(self._kind.name, self._kind.generator, self._victim())
        joining = _Joining(home) if self._kind.joins else None
        try:
            flood.start()
            if self._kind.refuses:
                home.stolen.send.start()
            load = self._load()
            if joining is not None:
                joining.attempt(result)
        finally:
            result.attempts = flood.stop()
            if joining is not None:
                joining.end()
        self._judge(load)
        return result

    def _load(self) -> RequestLoad:
        """Send requests and clips while the flood lasts; return the requests."""
        load = self._requests(REQUESTS, self._seconds)
        began_s = time.monotonic()
        sampled_s = put = 0.0
        while (now_s := time.monotonic() - began_s) < self._seconds or len(load.served) < REQUESTS:
            load.turn()
            if now_s >= self._seconds * put / CLIPS and put < CLIPS:
                put += 1
                self._put()
            if now_s >= sampled_s:
                sampled_s = now_s + max(0.25, self._seconds / 200)
                self._sample(now_s)
            if now_s > self._seconds + _SETTLE_S:
                break
            time.sleep(0.02)
        return load

    def _requests(self, number: int, duration_s: float) -> RequestLoad:
        steps: Sequence[tuple[str, Callable[[], dict[str, Any]]]] = (
            ("list", dict),
            ("play", lambda: {"clip": self._sent[-FIRST_CLIPS]}),
            ("export", dict),
            ("log", dict),
            ("erase", self._oldest),
        )
        client = self._home.client("ada")
        return RequestLoad(client, steps, number, duration_s, self._allowed_s)

    def _measure_quiet(self) -> None:
        """Send each request once without the flood."""
        quiet = self._requests(QUIET_REQUESTS, 0.0)
        for _ in range(QUIET_REQUESTS):
            quiet.turn()
        self._result.faults += [f"without the flood: {fault}" for fault in quiet.judge()]
        self._result.lines.append(f"without the flood: {quiet.summary()}")
        self._allowed_s = max(self._allowed_s, 5 * quiet.slowest_s())

    def _put(self) -> None:
        self._sent.append(self._home.honest.put(self._home.identities, "ada"))

    def _oldest(self) -> dict[str, Any]:
        clip = self._sent[len(self._erased)]
        self._erased.add(clip)
        return {"clips": [clip]}

    def _sample(self, now_s: float) -> None:
        home = self._home
        self._archive.add(read_sample(home.archive.pid, now_s, home.archive_logs()))
        self._broker.add(read_sample(home.broker.pid, now_s, [home.folder / "broker.err"]))
        self._send.add(read_sample(home.honest.send.pid, now_s, [home.folder / "hall.err"]))

    def _victim(self) -> Victim:
        home = self._home
        return Victim(
            port=home.port,
            api_port=home.api_port,
            join_port=home.join_port,
            ca=str(home.ca),
            stolen_tls=str(home.stolen.tls),
            operator_tls=str(home.operator_tls),
            bob=home.identities["bob"],
            ada=home.identities["ada"],
            stolen_home=str(home.stolen.home.path),
            honest_home=str(home.honest.home.path),
        )

    def _judge(self, load: RequestLoad) -> None:
        home, result = self._home, self._result
        faults = load.judge()
        with suppress(EarmarkError):
            until(lambda: not home.honest.spool.waiting(), "the clips arrive", _SETTLE_S)
        counts = home.honest.spool.counts()
        missing = set(self._sent) - self._erased - home.stored()
        if missing:
            faults.append(f"{len(missing)} of {len(self._sent)} clips did not arrive")
        lost = counts.dropped + counts.refused + counts.quarantined + counts.expired
        if lost:
            faults.append(f"{lost} clips of the other speaker were refused or dropped")
        faults += self._archive.judge(ARCHIVE_LIMITS) + self._broker.judge(BROKER_LIMITS)
        faults += self._send.judge(SEND_LIMITS)
        if not result.attempts:
            faults.append("the flood made no attempt")
        actors = {"archive": home.archive, "broker": home.broker, "send": home.honest.send}
        for name, actor in actors.items():
            if not actor.is_running or actor.lives != 1:
                faults.append(f"the {name} ended")
        for name in ("archive", "hall"):
            log = (home.folder / f"{name}.err").read_text("utf-8", "replace")
            if "Traceback" in log:
                faults.append(f"{log.count('Traceback')} tracebacks in {name}.err")
        result.lines += [
            load.summary(),
            f"{len(self._sent)} clips of the other speaker, {len(missing)} missing",
            self._archive.summary(),
            self._broker.summary(),
            self._send.summary(),
        ]
        if self._kind.check is not None:
            more, line = self._kind.check(home, self._seconds)
            faults += more
            result.lines.append(line)
        result.faults += faults


class _Joining:
    """A speaker that joins while the flood lasts."""

    def __init__(self, home: FloodHome) -> None:
        self._home = home
        words = ("add-device", "attic", "--home", str(home.home.path))
        self._waiting = subprocess.Popen(
            earmark("household", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._waiting.stdout is not None
        assert self._waiting.stderr is not None
        self._line = next(
            text for text in self._waiting.stdout if text.startswith("earmark-join-1:")
        )
        next(text for text in self._waiting.stderr if "waiting for" in text)

    def attempt(self, result: FloodResult) -> None:
        """Join, and record how long it took."""
        began_s = time.monotonic()
        command = earmark("household", "--home", str(self._home.folder / "attic"), "join")
        try:
            done = subprocess.run(
                [*command, self._line.strip(), "--settings", str(self._home.folder / "attic.toml")],
                capture_output=True,
                text=True,
                check=False,
                timeout=_JOIN_S,
            )
        except subprocess.TimeoutExpired:
            result.faults.append(f"joining took more than {_JOIN_S:.0f} s")
            return
        if done.returncode:
            result.faults.append(f"joining failed: {done.stderr.strip()[:200]}")
        result.lines.append(f"joined in {time.monotonic() - began_s:.1f} s")

    def end(self) -> None:
        """End the server."""
        self._waiting.terminate()
        self._waiting.communicate(timeout=30)


def run_all(chosen: str, seconds: float, say: Callable[[str], None]) -> Iterator[FloodResult]:
    """Run floods, ``LANES`` at a time; yield each result in order.

    Args:
        chosen: ``all``, ``none``, or names with commas.
        seconds: duration of each flood.
        say: called with each line of progress.
    """
    names = NAMES if chosen == "all" else tuple(n for n in chosen.split(",") if n in NAMES)
    if not names:
        return
    say(f"floods, {seconds:g} s each, {LANES} at a time: {', '.join(names)}")
    with ThreadPoolExecutor(LANES) as lanes:
        for result in lanes.map(lambda name: _in_process(name, seconds), names):
            say(
                f"  {result.name}: {result.attempts} attempts, {len(result.faults)} faults,"
                f" load {os.getloadavg()[0]:.1f}"
            )
            for line in result.lines:
                say(f"    {line}")
            yield result


def _in_process(name: str, seconds: float) -> FloodResult:
    """Run one flood in a process of its own; return its result."""
    command = [sys.executable, "-m", "tests.adversary.flood_runner", name]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)], capture_output=True, text=True, check=False
    )
    try:
        return FloodResult(**json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return FloodResult(name, faults=[f"it could not be run: {last}"])


def main() -> int:
    """Run one flood and print its result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversary.flood_runner")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    (kind,) = (kind for kind in KINDS if kind.name == arguments.name)
    with tempfile.TemporaryDirectory(prefix="earmark-flood-") as name:
        result = run_flood(Path(name), kind, arguments.seconds)
    print(json.dumps(asdict(result)))
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
