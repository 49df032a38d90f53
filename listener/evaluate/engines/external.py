"""Any engine as a process: JSON Lines in, JSON Lines out, one answer to each line.

The program is greeted once, and answers what it is::

    {"earmark":1,"sample_rate_hz":16000,"words":["alexa"]}
    {"name":"mine","version":"3","words":["alexa"],"thresholds":{"alexa":0.5},
     "step_samples":1280,"first_end_sample":1280}

Then, for each item, a start, its sound in pieces of at most a second, and an end; each is answered
by the scores that are known by then, a row for each step and a column for each word::

    {"start":true}                                    {"scores":[]}
    {"sound":"<base64 of int16, little endian>"}      {"scores":[[0.01],[0.93]]}
    {"end":true}                                      {"scores":[]}

At the end of all its standard input is closed. Its standard error is the user's to read. What is
kept of its scores is kept under its name, its version, its command line and the files named there.
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
from typing import IO, Annotated, Final, TypeVar, cast

import msgspec
import numpy as np
from msgspec import Meta

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.engines.interface import Engine, ScoreTrack
from listener.evaluate.engines.provenance import digest_values

PATIENCE_S: Final = 60.0
"""A program that is silent for so long will not answer any more."""
END_S: Final = 1.0
"""A program whose input was closed has so long to end."""
LONGEST_ANSWER_BYTES: Final = 1 << 24
PIECE_SAMPLES: Final = SAMPLE_RATE_HZ
"""No piece is longer: a line of it fits into a pipe, so that writing never waits for reading."""

_READ_BYTES: Final = 1 << 16
_HINT: Final = "docs/research/engines.md has the protocol"

Answer = TypeVar("Answer")
Word = Annotated[str, Meta(min_length=1, max_length=80)]
Score = Annotated[float, Meta(ge=0, le=1)]
Samples16k = Annotated[int, Meta(ge=1, le=SAMPLE_RATE_HZ)]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What a program says of itself."""

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
    """How to start a program; see ``EngineRecipe``."""

    name: str
    command: tuple[str, ...]
    words: tuple[str, ...]
    key: str
    file_hashes: tuple[tuple[str, str], ...]

    def hashes(self) -> Mapping[str, str]:
        """Return the SHA-256 of each file that the command line names."""
        return dict(self.file_hashes)

    def build(self) -> Engine:
        """Start it.

        Raises:
            Unavailable: it cannot be started, or does not answer.
            ConfigError: it answers what is no answer.
        """
        return ExternalEngine(self.command, self.words)


def external_recipe(name: str, command: tuple[str, ...], words: tuple[str, ...]) -> ExternalRecipe:
    """Start a program once, to learn what it is.

    Args:
        name: what results call it.
        command: the program and its arguments.
        words: what it is asked to listen for.

    Raises:
        Unavailable: it cannot be started, or does not answer.
        ConfigError: there is no command, or it answers what is no answer.
    """
    if not command:
        raise ConfigError("the engine command needs a command", _HINT)
    engine = ExternalEngine(command, words)
    hello = engine.hello
    engine.close()
    hashes = tuple((word, file_hash(Path(word))) for word in command if Path(word).is_file())
    key = digest_values("command", command, words, hashes, hello.name, hello.version)
    return ExternalRecipe(name, command, words, key, hashes)


class ExternalEngine:
    """A program that was started; see ``Engine``. One thread."""

    def __init__(
        self, command: tuple[str, ...], words: tuple[str, ...], patience_s: float = PATIENCE_S
    ) -> None:
        """Start and greet it; see ``ExternalRecipe.build``."""
        self._command = command
        self._name = command[0]
        self._patience_s = patience_s
        self.words = words
        self._start()
        self.thresholds = {word: self.hello.thresholds[word] for word in words}

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """See ``Engine.track``; a program that failed at the last item is started anew.

        Raises:
            Unavailable: the program ended or does not answer; or the sound is damaged.
            ConfigError: it answers what is no answer.
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

    def close(self) -> None:
        """Close its input and wait for its end; harmless when repeated."""
        for pipe in (self._into, self._out_of):
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
            self._process = subprocess.Popen(  # noqa: S603 - what the user asked for
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Unavailable(f"cannot start {self._name}: {reason}", _HINT) from error
        # Both are pipes, as was asked for.
        self._into = cast("IO[bytes]", self._process.stdin)
        self._out_of = cast("IO[bytes]", self._process.stdout)
        greeting = {"earmark": 1, "sample_rate_hz": SAMPLE_RATE_HZ, "words": self.words}
        self.hello = self._ask(greeting, Hello)
        for what, known in (("word", self.hello.words), ("threshold", self.hello.thresholds)):
            if missing := set(self.words) - set(known):
                self.close()
                raise ConfigError(f"{self._name} has no {what} {min(missing)}", _HINT)

    def _scores(self, line: dict[str, object]) -> tuple[tuple[float, ...], ...]:
        rows = self._ask(line, _Scores).scores
        if any(len(row) != len(self.hello.words) for row in rows):
            raise ConfigError(f"{self._name} gives rows of another length than its words", _HINT)
        return rows

    def _ask(self, line: dict[str, object], kind: type[Answer]) -> Answer:
        """Write a line and read its answer; a program that fails is ended."""
        try:
            try:
                self._into.write(msgspec.json.encode(line) + b"\n")
                self._into.flush()
            except OSError as error:
                raise self._gone() from error
            try:
                return msgspec.json.decode(self._answer(), type=kind)
            except (msgspec.DecodeError, RecursionError) as error:
                raise ConfigError(f"{self._name} answers what is none: {error}", _HINT) from error
        except EarmarkError:
            self.close()
            raise

    def _answer(self) -> bytes:
        until_s = time.monotonic() + self._patience_s
        while (end := self._unread.find(b"\n")) < 0:
            left_s = until_s - time.monotonic()
            ready, _, _ = select.select([self._out_of], [], [], max(0.0, left_s))
            if not ready:
                raise Unavailable(f"{self._name} did not answer for {self._patience_s:g} s", _HINT)
            data = os.read(self._out_of.fileno(), _READ_BYTES)
            if not data:
                raise self._gone()
            self._unread += data
            if len(self._unread) > LONGEST_ANSWER_BYTES:
                raise ConfigError(f"{self._name} answers without end", _HINT)
        answer = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return answer

    def _gone(self) -> Unavailable:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return Unavailable(f"{self._name} closed its output", _HINT)
        return Unavailable(f"{self._name} ended with exit code {code}", _HINT)
