"""Commands, one after the other: open, recognise, carry out once and in time, reply.

The worker is one thread. It gets verified command copies and returns messages to publish. Sound and
text exist in its local variables only; errors and counts contain neither.
"""

import contextlib
import gc
import logging
import queue
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.assist.announcements import SoundingAnnouncements
from listener.assist.asks import Asks, ClockPair, CopyRefusal, CopyRefused, HeldCommand
from listener.assist.command_text import remove_wake_word
from listener.assist.owners_off import OwnersOff
from listener.assist.recogniser import (
    Agent,
    AnnouncementSource,
    CommandMatcher,
    OutcomeUnknown,
    Recogniser,
    Recognition,
)
from listener.assist.speech import ReplySound, SpeechEngine, parse_wav, speak, with_ring
from listener.envelope import keys
from listener.errors import Unavailable, VoiceError
from listener.mqtt import topics
from listener.mqtt.client import Message
from listener.owner.roster import Roster
from listener.voice import timing
from listener.voice.command_copy import CommandCopy
from listener.voice.messages import Outcome, sign_message
from listener.voice.open_copy import OpenedCopy, open_copy
from listener.voice.reply import ReplyHeader, seal_reply
from listener.voice.sealed_file import key_id

IDLE_S: Final = 2.0
"""Time without a job after which a recogniser that has ended is replaced."""
MOST_JOBS: Final = 8
"""Jobs that wait; more are refused."""

OutcomeWord = Literal["done", "failed", "not-understood", "late", "again"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplyTarget:
    """Where a reply goes."""

    nonce: str
    device: str
    recipient: str | None
    """Public key of the reply; None where the speaker wants none."""
    since: ClockPair
    """Time of the answer, or of the ask where it has none."""


@dataclass(frozen=True, slots=True)
class CommandJob:
    """A verified command copy."""

    copy: CommandCopy
    device_key: Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class ConfirmedJob:
    """Whole command of a provisional part that was confirmed."""

    nonce: str
    device: str
    command: HeldCommand


@dataclass(frozen=True, slots=True)
class AnnouncementJob:
    """A text to be spoken for an ask that a poke caused."""

    target: ReplyTarget
    text: str
    is_ring: bool = False
    is_message: bool = False
    """Whether a text that came by message is part of it."""


Job = CommandJob | ConfirmedJob | AnnouncementJob


@dataclass(frozen=True, slots=True)
class Abilities:
    """Programs that understand and speak."""

    recogniser: Recogniser
    agent: Agent
    voices: Sequence[SpeechEngine] = ()
    """In the order in which they are tried; without one there is no spoken reply."""
    announcements: AnnouncementSource | None = None
    """Timers that end, if the agent has any."""
    prepare: Callable[[str, str], None] | None = None
    """Connects the agent for a device and an owner, before the last check of the time. Called in a
    thread of its own while the clip is recognised, and again after that, when it does nothing where
    the connection is open. Never called together with itself, the agent or the matcher."""
    release: Callable[[], None] | None = None
    """Closes a connection that ``prepare`` made and no command used."""
    matcher: CommandMatcher | None = None
    """Tells whether the text of a provisional part is a whole command, where the recogniser does
    not."""
    keep_ready: Callable[[], object] | None = None
    """Replaces a recogniser's process that has ended, while no command waits. Never raises."""


class CommandProcessor:
    """Processes one job at a time. For one thread.

    Args:
        asks: the open asks.
        abilities: recogniser, agent and voices.
        key: assist's service key, which signs.
        roster: returns the household's current roster.
        off: owners who said off.
        sounding: is told of each announcement by message before it is sent.
        now: reads both clocks.
    """

    def __init__(  # noqa: PLR0913 - what opens, decides and carries out a command
        self,
        asks: Asks,
        abilities: Abilities,
        *,
        key: Ed25519PrivateKey,
        roster: Callable[[], Roster],
        off: OwnersOff,
        sounding: SoundingAnnouncements,
        now: Callable[[], ClockPair],
    ) -> None:
        self._asks = asks
        self._abilities = abilities
        self._key = key
        self._assist_id = keys.device_id(key.public_key())
        self._roster = roster
        self._off = off
        self._sounding = sounding
        self._now = now
        self.counts: Counter[str] = Counter()
        """Commands by outcome, and refusals by reason."""

    def process(self, job: Job, post: Callable[[Message], None]) -> None:
        """Process a job; pass each message to ``post`` as soon as it is made."""
        match job:
            case AnnouncementJob():
                self._announce(job, post)
            case ConfirmedJob(nonce, device):
                self._guard(nonce, device, post, lambda: self._act_held(job, post))
            case CommandJob():
                header = job.copy.header
                self._guard(header.ask, header.device, post, lambda: self._process_copy(job, post))

    def rest(self) -> None:
        """Prepare for the next command; to be called while there is no job."""
        if self._abilities.release is not None:
            self._abilities.release()
        if self._abilities.keep_ready is not None:
            self._abilities.keep_ready()

    def _guard(
        self,
        nonce: str,
        device: str,
        post: Callable[[Message], None],
        process: Callable[[], object],
    ) -> None:
        """Process a command; tell the speaker about a refusal or a failure."""
        try:
            process()
        except CopyRefused as refused:
            self.counts[f"refused-{refused.reason.value}"] += 1
            if (outcome := refusal_outcome(refused.reason)) is not None:
                self._say(nonce, device, outcome, post)
        except VoiceError as refused:
            self._fail(nonce, device, refused.reason, post)
        except Unavailable as error:
            _log.warning("a command was not carried out: %s", error)
            self._fail(nonce, device, "unavailable", post)

    def _process_copy(self, job: CommandJob, post: Callable[[Message], None]) -> None:
        opened = self._open(job)
        if opened.header.last:
            self._obey(opened, post)
            return
        try:
            command = self._find_whole_command(opened)
        except Unavailable as error:
            self.counts["refused-part"] += 1
            _log.info("a provisional part was not recognised: %s", error)
            return  # the last part decides
        if command is not None and self._asks.hold(opened.header.ask, command):
            self._act(opened.header.ask, opened.header.device, command, post)

    def _open(self, job: CommandJob) -> OpenedCopy:
        header = job.copy.header
        key = self._asks.take_key(header.ask, is_last=bool(header.last))
        opened = open_copy(job.copy, job.device_key, key.secret, self._assist_id)
        fields = opened.fields
        owner = self._roster().owner(fields.owner)
        if owner is None or not owner.active or owner.okey != fields.okey:
            raise VoiceError("owner")
        if self._off.is_off(fields.owner, header.device, fields.n):
            raise VoiceError("old")
        return opened

    def _recognise(self, opened: OpenedCopy) -> Recognition | None:
        """Return the text without the wake word; None without any. The sound is overwritten."""
        word = opened.fields.word
        try:
            found = self._abilities.recogniser.recognise(
                opened.samples, word, is_final=bool(opened.header.last)
            )
        finally:
            opened.samples.fill(0)
        text = "" if found is None else remove_wake_word(found.text, word)
        return Recognition(text, is_command=found.is_command) if found and text else None

    @contextlib.contextmanager
    def _preparing(self, opened: OpenedCopy) -> Iterator[Callable[[], None]]:
        """Connect the agent while the block recognises the clip.

        Yields:
            To be called after the block and before the act: raises the error of the connection,
            and makes a new one if it was lost during the recognition.
        """
        prepare = partial(
            self._abilities.prepare or (lambda _device, _owner: None),
            opened.header.device,
            opened.fields.owner,
        )
        with ThreadPoolExecutor(1, "connect") as executor:
            connected = executor.submit(prepare)

            def finish() -> None:
                connected.result()
                prepare()

            yield finish

    def _find_whole_command(self, opened: OpenedCopy) -> HeldCommand | None:
        """Return the command of a provisional part, and connect the agent for it.

        Returns:
            None where the part is not a whole command.

        Raises:
            Unavailable: the recogniser or the agent cannot be used.
        """
        header, fields = opened.header, opened.fields
        with self._preparing(opened) as finish:
            found = self._recognise(opened)
        if found is None:
            return None
        finish()
        matcher = self._abilities.matcher
        if not found.is_command and (
            matcher is None or not matcher.is_command(found.text, header.device, fields.owner)
        ):
            return None
        return HeldCommand(header.part, header.age_ms, fields.owner, found.text)

    def _obey(self, opened: OpenedCopy, post: Callable[[Message], None]) -> None:
        header, fields = opened.header, opened.fields
        with self._preparing(opened) as finish:
            found = self._recognise(opened)
        if found is None:
            self._asks.end(header.ask)
            self._say(header.ask, header.device, "not-understood", post)
            return
        finish()
        command = HeldCommand(header.part, header.age_ms, fields.owner, found.text)
        self._act(header.ask, header.device, command, post)

    def _act(
        self, nonce: str, device: str, command: HeldCommand, post: Callable[[Message], None]
    ) -> None:
        """Carry a command out once and in time, report its outcome, and reply."""
        ask = self._asks.begin_act(nonce, command.age_ms)
        try:
            result = self._abilities.agent.carry_out(command.text, device, command.owner)
        except OutcomeUnknown as error:
            # Not repeated, and not reported as anything: the speaker says that it is not known.
            self.counts["unknown"] += 1
            _log.warning("the outcome of a command is not known: %s", error)
            return
        self._say(nonce, device, result.outcome, post)
        target = ReplyTarget(ask.nonce, ask.device, ask.reply, ask.answered or ask.arrived)
        self._reply(target, result.speech, result.sound, post)

    def _act_held(self, job: ConfirmedJob, post: Callable[[Message], None]) -> None:
        if self._abilities.prepare is not None:
            # The connection that was made for the part may be closed by now.
            self._abilities.prepare(job.device, job.command.owner)
        self._act(job.nonce, job.device, job.command, post)

    def _fail(self, nonce: str, device: str, reason: str, post: Callable[[Message], None]) -> None:
        self._asks.end(nonce)
        self.counts[f"refused-{reason}"] += 1
        self._say(nonce, device, "failed", post)

    def _say(
        self, nonce: str, device: str, outcome: OutcomeWord, post: Callable[[Message], None]
    ) -> None:
        self.counts[outcome] += 1
        post(outcome_message(self._key, nonce, device, outcome))

    def _reply(
        self, target: ReplyTarget, text: str, sound_file: bytes, post: Callable[[Message], None]
    ) -> None:
        if target.recipient is None:
            return
        self._seal(target, self._sound(text, sound_file), post)

    def _seal(
        self, target: ReplyTarget, sound: ReplySound | None, post: Callable[[Message], None]
    ) -> None:
        age_ms = int((self._now().boot_s - target.since.boot_s) * 1000)
        if sound is None or age_ms > timing.LONGEST_REPLY_AGE_MS or target.recipient is None:
            return
        header = ReplyHeader(
            age_ms=age_ms, ask=target.nonce, device=target.device, key=key_id(target.recipient)
        )
        try:
            payload = seal_reply(header, sound.samples, sound.rate_hz, target.recipient, self._key)
        except VoiceError as error:
            _log.warning("a reply was not sealed: %s", error)
            return
        self.counts["replies"] += 1
        topic = topics.SAY.name(device=target.device)
        post(Message(topic, payload, qos=0, expiry_s=int(timing.REPLY_S)))

    def _announce(self, job: AnnouncementJob, post: Callable[[Message], None]) -> None:
        sound = self._sound(job.text, b"")
        if job.is_ring:
            sound = with_ring(sound)
        if job.is_message and sound is not None:
            length_s = len(sound.samples) / sound.rate_hz
            self._sounding.seal(job.target.device, length_s, self._now().boot_s)
        elif job.is_message:
            self._sounding.drop(job.target.device)
            self.counts["refused-no-voice"] += 1
        self._seal(job.target, sound, post)

    def _sound(self, text: str, sound_file: bytes) -> ReplySound | None:
        if sound_file:
            try:
                return parse_wav(sound_file)
            except ValueError:
                _log.info("the agent's sound is not a WAV file")
        return speak(text, self._abilities.voices) if text.strip() else None


def answer_message(device: str, payload: bytes, expiry_s: int) -> Message:
    """Return the message that carries an answer, an outcome or a poke."""
    return Message(topics.ANSWER.name(device=device), payload, qos=0, expiry_s=expiry_s)


def outcome_message(
    key: Ed25519PrivateKey, nonce: str, device: str, outcome: OutcomeWord
) -> Message:
    """Return the message that tells a speaker the outcome of its command.

    Args:
        key: assist's service key.
        nonce: of the ask.
        device: name of the speaker.
        outcome: the outcome.
    """
    payload = sign_message(Outcome(ask=nonce, device=device, outcome=outcome), key.sign)
    return answer_message(device, payload, int(timing.OUTCOME_S))


def refusal_outcome(reason: CopyRefusal) -> OutcomeWord | None:
    """Return what a speaker is told about a refused copy; None for nothing.

    A copy that comes again while its ask is processed, or after the act, has no outcome: an outcome
    is the last word on its ask, and the broker can repeat each copy.
    """
    if reason in {CopyRefusal.DONE, CopyRefusal.PART}:
        return None
    return "again" if reason is CopyRefusal.ENDED else "late"


class CommandWorker:
    """Thread that processes jobs, and a descriptor that is readable when a message is ready.

    Args:
        process: processes a job.
        rest: called in the thread after some seconds without a job.
        name: name of the thread.
    """

    def __init__(
        self,
        process: Callable[[Job, Callable[[Message], None]], None],
        rest: Callable[[], object] = bool,
        name: str = "commands",
    ) -> None:
        self._process = process
        self._rest = rest
        self._jobs: queue.Queue[Job | None] = queue.Queue(MOST_JOBS)
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._ready, self._wake = socket.socketpair()
        self._ready.settimeout(0)
        self._wake.settimeout(0)
        self._thread = threading.Thread(target=self._run, name=name)
        self.failure = ""
        """Type of the error that ended the thread, or empty."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor, for ``select``."""
        return self._ready.fileno()

    def submit(self, job: Job) -> bool:
        """Queue a job; return whether there was room.

        A provisional part has room only where no job waits, so that it displaces no whole command.
        """
        is_part = isinstance(job, CommandJob) and not job.copy.header.last
        if is_part and not self._jobs.empty():
            return False
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def messages(self) -> list[Message]:
        """Return the messages that are ready."""
        with contextlib.suppress(BlockingIOError):
            while self._ready.recv(64):
                pass
        found = []
        while not self._messages.empty():
            found.append(self._messages.get())
        return found

    def close(self) -> None:
        """End the thread after the jobs that it has; close the descriptor."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._ready.close()
        self._wake.close()

    def run_waiting(self) -> None:
        """Process the jobs that wait, in the caller's thread."""
        while not self._jobs.empty():
            if (job := self._jobs.get()) is not None:
                self._process(job, self._post)

    def _run(self) -> None:
        while (job := self._next_job()) is not None:
            try:
                self._process(job, self._post)
            except Exception as error:  # noqa: BLE001 - its text may quote a command, so only its type is shown
                self.failure = type(error).__name__
                _log.error("the worker failed: %s", self.failure)
                self._notify()
                return
            del job
            # Connections and errors refer to each other in circles, which hold sound and text.
            gc.collect()

    def _next_job(self) -> Job | None:
        while True:
            try:
                return self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                self._rest()

    def _post(self, message: Message) -> None:
        self._messages.put(message)
        self._notify()

    def _notify(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is readable already
            self._wake.send(b"\0")
