"""External engine: a program that reads and writes JSON Lines, one answer to each line.

The first line is a greeting, which the program answers with its description::

    {"earmark":1,"sample_rate_hz":16000,"words":["alexa"]}
    {"name":"mine","version":"3","words":["alexa"],"thresholds":{"alexa":0.5},
     "step_samples":1280,"first_end_sample":1280}

Each item is a start, its audio in pieces of at most one second, and an end. Each line is answered
with the scores that are available by then, a row for each step and a column for each word::

    {"start":true}                                    {"scores":[]}
    {"sound":"<base64 of int16, little endian>"}      {"scores":[[0.01],[0.93]]}
    {"end":true}                                      {"scores":[]}

Finally the program's standard input is closed. Its standard error goes to the user. Its scores are
cached by its name, version, command line and the files named there.
"""

import base64
import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Annotated, Final, TypeVar, cast

import msgspec
import numpy as np
from msgspec import Meta

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.engines.interface import Engine, ScoreTrack
from listener.evaluate.engines.provenance import digest_values

TIMEOUT_S: Final = 60.0
"""Maximum time to an answer."""
END_S: Final = 1.0
"""Maximum time from closed input to the exit of the program."""
LONGEST_ANSWER_BYTES: Final = 1 << 24
PIECE_SAMPLES: Final = SAMPLE_RATE_HZ
"""Maximum length of a piece: its line fits into a pipe, so that writing never blocks."""

_READ_BYTES: Final = 1 << 16
_HINT: Final = "see the protocol in docs/research/engines.md"

Answer = TypeVar("Answer")
Word = Annotated[str, Meta(min_length=1, max_length=80)]
Score = Annotated[float, Meta(ge=0, le=1)]
Samples16k = Annotated[int, Meta(ge=1, le=SAMPLE_RATE_HZ)]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a program: its answer to the greeting."""

    name: Annotated[str, Meta(max_length=200)]
    version: Annotated[str, Meta(max_length=200)]
    words: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=100)]
    thresholds: dict[Word, Score]
    step_samples: Samples16k
    first_end_sample: Annotated[int, Meta(ge=1, le=60 * SAMPLE_RATE_HZ)]


class _Scores(msgspec.Struct, frozen=True, kw_only=True):
    scores: tuple[tuple[Score, ...], ...]


@dataclass(frozen=True, slots=True)
class ExternalRecipe:
    """Recipe that starts a program; see ``EngineRecipe``."""

    name: str
    command: tuple[str, ...]
    words: tuple[str, ...]
    key: str
    file_hashes: tuple[tuple[str, str], ...]

    def hashes(self) -> Mapping[str, str]:
        """Return the SHA-256 of each file that the command line names."""
        return dict(self.file_hashes)

    def build(self) -> Engine:
        """Start the program.

        Raises:
            Unavailable: it cannot be started, or does not answer.
            ConfigError: its answer is invalid.
        """
        return ExternalEngine(self.command, self.words)


def external_recipe(name: str, command: tuple[str, ...], words: tuple[str, ...]) -> ExternalRecipe:
    """Return the recipe of a program, which is started once for its description.

    Args:
        name: name of the engine in the results.
        command: the program and its arguments.
        words: the wake words to score.

    Raises:
        Unavailable: it cannot be started, or does not answer.
        ConfigError: there is no command, or the answer is invalid.
    """
    if not command:
        raise ConfigError("an engine of the kind command needs a command", _HINT)
    engine = ExternalEngine(command, words)
    hello = engine.hello
    engine.close()
    hashes = tuple((word, file_hash(Path(word))) for word in command if Path(word).is_file())
    key = digest_values("command", command, words, hashes, hello.name, hello.version)
    return ExternalRecipe(name, command, words, key, hashes)


class ExternalEngine:
    """A running program; see ``Engine``. Use from one thread."""

    patience_frames: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self, command: tuple[str, ...], words: tuple[str, ...], timeout_s: float = TIMEOUT_S
    ) -> None:
        """Start the program and send the greeting; see ``ExternalRecipe.build``."""
        self._command = command
        self._name = command[0]
        self._timeout_s = timeout_s
        self.words = words
        self._start()
        self.thresholds = {word: self.hello.thresholds[word] for word in words}

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """See ``Engine.track``; a program that failed at the previous item is started again.

        Raises:
            Unavailable: the program exited or does not answer, or the audio is damaged.
            ConfigError: its answer is invalid.
        """
        if self._process.returncode is not None:
            self._start()
        rows = list(self._scores({"start": True}))
        length = 0
        for block in blocks:
            length += len(block)
            for first in range(0, len(block), PIECE_SAMPLES):
                sound = block[first : first + PIECE_SAMPLES].astype("<i2").tobytes()
                rows += self._scores({"sound": base64.b64encode(sound).decode("ascii")})
        rows += self._scores({"end": True})
        scores = np.array(rows, np.float32).reshape(len(rows), len(self.hello.words))
        columns = [self.hello.words.index(word) for word in self.words]
        return ScoreTrack(
            self.words,
            np.ascontiguousarray(scores[:, columns]),
            self.hello.step_samples,
            self.hello.first_end_sample,
            length,
        )

    @property
    def process_id(self) -> int:
        """Process id of the program."""
        return self._process.pid

    def close(self) -> None:
        """Close the program's input and wait for its exit; idempotent."""
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.close()

    def _start(self) -> None:
        self._unread = bytearray()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command of the user's plan
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Unavailable(f"cannot start {self._name}: {reason}", _HINT) from error
        # Both are pipes, as requested above.
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        greeting = {"earmark": 1, "sample_rate_hz": SAMPLE_RATE_HZ, "words": self.words}
        self.hello = self._ask(greeting, Hello)
        for what, known in (("word", self.hello.words), ("threshold", self.hello.thresholds)):
            if missing := set(self.words) - set(known):
                self.close()
                raise ConfigError(f"{self._name} has no {what} {min(missing)}", _HINT)

    def _scores(self, line: dict[str, object]) -> tuple[tuple[float, ...], ...]:
        rows = self._ask(line, _Scores).scores
        if any(len(row) != len(self.hello.words) for row in rows):
            raise ConfigError(
                f"{self._name} sent rows whose length is not its number of words", _HINT
            )
        return rows

    def _ask(self, line: dict[str, object], kind: type[Answer]) -> Answer:
        """Write a line and return its answer; stop the program if that fails."""
        try:
            try:
                self._stdin.write(msgspec.json.encode(line) + b"\n")
                self._stdin.flush()
            except OSError as error:
                raise self._exit_error() from error
            try:
                return msgspec.json.decode(self._read_answer(), type=kind)
            except (msgspec.DecodeError, RecursionError) as error:
                raise ConfigError(f"{self._name} sent an invalid answer: {error}", _HINT) from error
        except EarmarkError:
            self.close()
            raise

    def _read_answer(self) -> bytes:
        until_s = time.monotonic() + self._timeout_s
        while (end := self._unread.find(b"\n")) < 0:
            left_s = until_s - time.monotonic()
            ready, _, _ = select.select([self._stdout], [], [], max(0.0, left_s))
            if not ready:
                raise Unavailable(
                    f"{self._name} did not answer within {self._timeout_s:g} s", _HINT
                )
            data = os.read(self._stdout.fileno(), _READ_BYTES)
            if not data:
                raise self._exit_error()
            self._unread += data
            if len(self._unread) > LONGEST_ANSWER_BYTES:
                raise ConfigError(
                    f"{self._name} sent a line of over {LONGEST_ANSWER_BYTES} bytes", _HINT
                )
        answer = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return answer

    def _exit_error(self) -> Unavailable:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return Unavailable(f"{self._name} closed its output", _HINT)
        return Unavailable(f"{self._name} exited with code {code}", _HINT)
