"""``make day``: evaluate a recording of 24 hours with wake words, in constant memory."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from benchmarks.processes import finished, one_thread
from benchmarks.sounds import FIXTURES, SEED
from listener.audio.pcm import SAMPLE_RATE_HZ

HOURS: Final = 24
WORDS_PER_HOUR: Final = 12
WORD: Final = FIXTURES / "alexa.flac"
WORD_S: Final = (2.0, 2.68)
"""Begin and end of the word in that recording, in seconds."""
MEMORY_LIMIT_MIB: Final = 250
# VmHWM, because ru_maxrss includes the memory of the parent before the start.
CHILD: Final = """
import pathlib, sys
from listener.cli.main import main
code = main(sys.argv[1:])
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024, file=sys.stderr)
sys.exit(code)
"""


def main() -> int:
    """Write the recording and evaluate it; return 1 if a word is missed or memory grew."""
    argparse.ArgumentParser(prog="python -m benchmarks.day", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="earmark-day-") as name:
        folder = Path(name)
        began_s = time.monotonic()
        words = _write(folder)
        print(f"day: {HOURS} h with {words} words written in {time.monotonic() - began_s:.0f} s")
        began_s = time.monotonic()
        arguments = ["evaluate", "--corpus", str(folder / "day.jsonl"), "--jobs", "1", "--json"]
        command = [sys.executable, "-c", CHILD, *arguments, "--out", str(folder / "out")]
        done = finished(command, one_thread())
        took_s = time.monotonic() - began_s
    if done.returncode:
        print(f"day: FAILED: {done.stderr.strip()}")
        return 1
    result = json.loads(done.stdout.splitlines()[0])
    memory_mib = int(done.stderr.split()[-1])
    misses, false = result["misses"]["count"], result["false_wakes"]["count"]
    print(
        f"day: {misses:g} of {result['words_said']} words missed, {false:g} false wakes in"
        f" {result['hours']:.2f} h; {took_s:.0f} s, {HOURS * 3600 / took_s:.0f} times real time,"
        f" {memory_mib} MiB at most"
    )
    passed = misses == 0 and memory_mib <= MEMORY_LIMIT_MIB and result["words_said"] == words
    return int(not passed)


def _write(folder: Path) -> int:
    """Write a quiet room with the word at random times, one hour at a time; return the words."""
    word, _ = soundfile.read(WORD, dtype="int16")
    random = np.random.default_rng(SEED)
    hour_samples = 3600 * SAMPLE_RATE_HZ
    rows = []
    with soundfile.SoundFile(folder / "day.flac", "w", SAMPLE_RATE_HZ, 1) as day:
        for hour in range(HOURS):
            room = np.rint(random.standard_normal(hour_samples) * 7.5).astype(np.int16)
            slots = np.linspace(10, 3580 - len(word) / SAMPLE_RATE_HZ, WORDS_PER_HOUR)
            for slot in slots + random.uniform(0, 5, WORDS_PER_HOUR):
                first = int(slot * SAMPLE_RATE_HZ)
                room[first : first + len(word)] += word
                begin_s = hour * 3600 + first / SAMPLE_RATE_HZ + WORD_S[0]
                rows.append(
                    {
                        "path": "day.flac",
                        "word": "alexa",
                        "offset_s": begin_s,
                        "duration_s": WORD_S[1] - WORD_S[0],
                    }
                )
            day.write(room)
    (folder / "day.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return len(rows)


if __name__ == "__main__":
    sys.exit(main())
