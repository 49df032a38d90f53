"""``make arm64``: run the models on an emulated Cortex-A53, and compare scores with this machine.

QEMU's user-mode emulation runs the speaker's own wheels: an instruction that the oldest board lacks
is an error here as it would be there. Writes benchmarks/arm64.json.
"""

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from firmware import wheels
from firmware.dates import source_date_s
from firmware.deb.__main__ import CACHE, own_wheel
from firmware.programs import BuildError, must, run
from firmware.wheels import ROOT, Pin, Target

FOLDER: Final = ROOT / "build" / "arm64"
RESULTS: Final = ROOT / "benchmarks" / "arm64.json"
SUITES: Final = {"3.13": "trixie", "3.11": "bookworm"}
MIRROR: Final = "http://deb.debian.org/debian"
PROCESSOR: Final = "cortex-a53"
_EMULATOR: Final = "run apt-get install qemu-user"
RECORDINGS: Final = tuple(
    ROOT / "tests" / "fixtures" / f"{name}.flac" for name in ("alexa_command", "hey_jarvis_command")
)
SOUNDS: Final = {
    "speech": ("alexa_command", "all"),
    "speech_first_stage": ("alexa_command", "first-stage"),
    "speech_second_opinion": ("alexa_command", "second-opinion"),
    "speech_both_stages": ("alexa_command", "first-stage+second-opinion"),
    "quiet_room": ("quiet", "lazy+second-opinion"),
}
"""Runs whose instructions are counted: a recording, and the parts of the detector that are on."""
FIRST_STAGE: Final = ROOT / "models" / "first-stage"
MOST_DIFFERENCE: Final = 1e-3
LEAST_COSINE: Final = 0.9999
"""Of a speaker embedding on both processors."""
SETTLED_FRAMES: Final = 30
"""Frames at the start that are not counted, while windows and the interpreter's caches fill."""
SETTLED_EMBEDDINGS: Final = 1
NO_SUCH_INSTRUCTION: Final = 132
INSIDE: Final = Path(__file__).with_name("inside.py")
# onnxruntime reads cpuinfo, and fails with that of an x86 machine.
CPUINFO: Final = (
    "processor\t: {}\nBogoMIPS\t: 38.40\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd03\n"
    "CPU revision\t: 4\n\n"
)


def main() -> int:
    """Score with both Python versions, count instructions, and write the results.

    Returns:
        Exit code: 1 if a score differs by more than ``MOST_DIFFERENCE``, or if the cosine of an
        embedding and that of this machine is below ``LEAST_COSINE``.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            tools = wheels.fetch(wheels.read(wheels.TOOLS), (), CACHE / "tools")
            own = own_wheel(Path(folder), tools, source_date_s())
            boards = {python: Board(python, own) for python in SUITES}
            results = measure(boards)
    except BuildError as error:
        print(f"earmark: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"earmark: hint: {error.hint}", file=sys.stderr)
        return 1
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", "utf-8")
    print(json.dumps(results, indent=1, sort_keys=True))
    worst = max(each["most_difference"] for each in results["scores"].values())
    if worst > MOST_DIFFERENCE:
        print(f"earmark: error: scores differ by {worst:.2g}", file=sys.stderr)
        return 1
    least = min(each["embedding_cosine"] for each in results["scores"].values())
    if least < LEAST_COSINE:
        print(f"earmark: error: speaker embeddings have a cosine of {least:.6f}", file=sys.stderr)
        return 1
    return 0


def measure(boards: "Mapping[str, Board]") -> dict[str, Any]:
    """Score the recordings and count instructions on the boards.

    Raises:
        BuildError: a program failed.
    """
    files = [str(file) for file in RECORDINGS]
    here = _run([sys.executable, str(INSIDE), *files])
    scores = {}
    for python, board in boards.items():
        _report(f"Python {python}: {len(files)} recordings")
        there = board.score(files)
        scores[python] = {
            "lock_sha256": wheels.sha256(Target(python, "aarch64").lock),
            "versions": there["versions"],
            "steps": sum(map(len, there["scores"].values())),
            "most_difference": difference(here["scores"], there["scores"]),
            "embedding_cosine": least_cosine(here["embeddings"], there["embeddings"]),
            "highest_score": max(
                score
                for steps in there["scores"].values()
                for step in steps
                for score in step.values()
            ),
        }
    has_first_stage = FIRST_STAGE.is_dir()
    counted = {
        name: boards["3.13"].count(recording, how)
        for name, (recording, how) in SOUNDS.items()
        if has_first_stage or "first-stage" not in how
    }
    return {
        "processor": PROCESSOR,
        "scores": scores,
        "instructions_per_frame": {name: counts[0] for name, counts in counted.items()},
        "instructions_in_the_longest_frame": {name: each[1] for name, each in counted.items()},
        "instructions_per_embedding": boards["3.13"].count(
            "alexa_command", "embedding", SETTLED_EMBEDDINGS
        )[0],
    }


def difference(
    here: Mapping[str, Sequence[Mapping[str, float]]],
    there: Mapping[str, Sequence[Mapping[str, float]]],
) -> float:
    """Return the maximum difference between the scores of two runs.

    Args:
        here: for each file, the scores (0 to 1) of each step by name.
        there: the same of the other run.

    Raises:
        BuildError: the runs have other steps or words.
    """
    most = 0.0
    for file, steps in here.items():
        others = there.get(file, ())
        if [set(step) for step in steps] != [set(other) for other in others]:
            raise BuildError(
                f"{Path(file).name} has other steps or words on the emulated processor"
            )
        for step, other in zip(steps, others, strict=True):
            most = max(most, *(abs(step[name] - other[name]) for name in step))
    return most


def least_cosine(
    here: Mapping[str, Sequence[float]], there: Mapping[str, Sequence[float]]
) -> float:
    """Return the least cosine of the embeddings of two runs.

    Args:
        here: for each file, its embedding, unit norm.
        there: the same of the other run.

    Raises:
        BuildError: the other run lacks a file.
    """
    if missing := [Path(file).name for file in here if len(there.get(file, ())) != len(here[file])]:
        raise BuildError(f"{missing[0]} has no embedding on the emulated processor")
    return min(sum(a * b for a, b in zip(here[file], there[file], strict=True)) for file in here)


class Board:
    """Debian's Python for arm64 with the speaker's wheels, in a cached folder."""

    def __init__(self, python: str, own: Path) -> None:
        """Create what the cache lacks.

        Args:
            python: e.g. ``"3.13"``.
            own: the wheel of Earmark.

        Raises:
            BuildError: mmdebstrap or a wheel is not available.
        """
        self._python = python
        self._root = FOLDER / python / "root"
        self._site = FOLDER / python / "site"
        if not (self._root / "usr" / "bin" / f"python{python}").exists():
            self._extract()
        target = Target(python, "aarch64")
        pins = (*wheels.read(target.lock), Pin("earmark", "0", wheels.sha256(own)))
        whole = hashlib.sha256("".join(map(str, pins)).encode()).hexdigest()
        mark = self._site / ".complete"
        if not mark.exists() or mark.read_text("ascii") != whole:
            shutil.rmtree(self._site, ignore_errors=True)
            for wheel in (*wheels.fetch(pins[:-1], target.tags(), CACHE / target.lock.stem), own):
                shutil.unpack_archive(wheel, self._site, "zip")
            mark.write_text(whole, "ascii")

    def score(self, files: Sequence[str]) -> dict[str, Any]:
        """Return the JSON object that inside.py prints.

        Raises:
            BuildError: it failed.
        """
        return _run(self._command("qemu-aarch64", {}, files))

    def count(self, recording: str, how: str, settled: int = SETTLED_FRAMES) -> tuple[int, int]:
        """Return median and greatest number of instructions per frame, or per embedding.

        Args:
            recording: name of a fixture.
            how: as EARMARK_COUNT of inside.py.
            settled: steps at the start that do not count.

        Raises:
            BuildError: the plugin does not build, or the program failed.
        """
        _report(f"counting over {recording}, {how}")
        plugin = FOLDER / "count.so"
        source = Path(__file__).with_name("count.c")
        built = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(plugin), str(source)]
        must(built, "run apt-get install gcc libc6-dev")
        file = str(ROOT / "tests" / "fixtures" / f"{recording}.flac")
        command = self._command("qemu-aarch64", {"EARMARK_COUNT": how}, [file])
        process = run([command[0], "-plugin", str(plugin), *command[1:]], _EMULATOR)
        _check(process)
        marks = [int(line.split()[1]) for line in process.stderr.splitlines() if "instr" in line]
        frames = [after - before for before, after in zip(marks[::2], marks[1::2], strict=True)]
        steady = frames[settled:]
        return round(statistics.median(steady)), max(steady)

    def _command(
        self, emulator: str, environment: Mapping[str, str], files: Sequence[str]
    ) -> list[str]:
        known = {"PYTHONPATH": str(self._site), "PYTHONDONTWRITEBYTECODE": "1"}
        known |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", **environment}
        return [
            *(emulator, "-L", str(self._root), "-cpu", PROCESSOR),
            *(word for name, value in known.items() for word in ("-E", f"{name}={value}")),
            # Variables that tune OpenBLAS for the processor of this machine.
            *("-U", "OPENBLAS_CORETYPE", "-U", "OPENBLAS_L2_SIZE"),
            *(str(self._root / "usr" / "bin" / f"python{self._python}"), str(INSIDE), *files),
        ]

    def _extract(self) -> None:
        """Unpack Debian's packages; none of their scripts is run, so this needs no emulator."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.parent.mkdir(parents=True, exist_ok=True)
        _report(f"Python {self._python}: Debian's packages for arm64")
        command = ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64"]
        command += ["--skip=check/qemu", "--include=python3,libportaudio2"]
        command += [SUITES[self._python], str(self._root), MIRROR]
        must(command, "run apt-get install mmdebstrap")
        for name in ("bin", "lib", "sbin"):
            if not (self._root / name).exists():
                (self._root / name).symlink_to(f"usr/{name}")
        processors = self._root / "sys" / "devices" / "system" / "cpu"
        processors.mkdir(parents=True)
        for name in ("online", "possible", "present"):
            (processors / name).write_text("0-3\n", "ascii")
        (self._root / "proc").mkdir(exist_ok=True)
        text = "".join(CPUINFO.format(number) for number in range(4))
        (self._root / "proc" / "cpuinfo").write_text(text, "ascii")


def _run(command: Sequence[str]) -> dict[str, Any]:
    process = run(command, _EMULATOR)
    _check(process)
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def _check(process: subprocess.CompletedProcess[str]) -> None:
    if process.returncode in {NO_SUCH_INSTRUCTION, -4}:
        raise BuildError(
            f"a wheel uses an instruction that a {PROCESSOR} lacks",
            "pin an earlier version in pyproject.toml, and run make lock",
        )
    if process.returncode != 0:
        raise BuildError(f"inside.py exited with {process.returncode}:\n{process.stderr[-2000:]}")


def _report(line: str) -> None:
    print(f"arm64: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
