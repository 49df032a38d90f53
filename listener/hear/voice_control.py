"""Voice control on the listening side: asks at a wake, follows answers and outcomes, orders copies.

`VoiceControl` connects the pure state machine `open_ask` with the consents, the socket of send, the
notices, the player and the sealer. All of it runs in the thread of the listen loop. Nothing here
holds audio, and nothing of any command is stored.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.audio.clip import Clip, EndReason
from listener.envelope import keys
from listener.errors import ConfigError, VoiceError
from listener.hear.command_sealer import CommandOrder, CopyResult
from listener.hear.events import CommandEvent, ConsentEvent, Event
from listener.hear.open_ask import CommandGrant, Instant, OpenAsk, Rejection
from listener.ipc.notices import AskNotice, CommandEnd, LampState, Notice, VoiceNotice
from listener.ipc.player_state import AskedReply, SoundName
from listener.voice import messages, timing
from listener.voice.consent_table import KeptConsent
from listener.voice.messages import (
    Ask,
    Confirmation,
    Outcome,
    SignedAnswer,
    SignedOutcome,
    VoiceStatus,
)

MOST_AT_ONCE: Final = 8
"""Datagrams read in one turn of the loop; a flood costs their parsing only."""
FOLLOW_EVERY_S: Final = 1.0
"""Interval at which the consents are followed without a wake, in seconds."""
STATUS_EVERY_S: Final = 20.0
"""Interval of the signed voice status, in seconds; also sent at each change."""

LAMP_S: Final = 2.0
"""Time for which the LED shows the end of a command, in seconds."""

_SOUNDS: Final[Mapping[CommandEnd, SoundName]] = {
    "done": "done",
    "failed": "failed",
    "not-understood": "not-understood",
    "late": "late",
    "again": "failed",
    "unknown": "unknown",
}
"""Sounds of the player; the ends that are not here and not in `_SILENT` are ``refused``."""
_SILENT: Final[frozenset[CommandEnd]] = frozenset(
    {"elsewhere", "no-speech", "muted", "interrupted"}
)

_log = logging.getLogger(__name__)


class ConsentSource(Protocol):
    """Consents of this device; see `consent_follower.ConsentFollower`."""

    @property
    def active(self) -> Mapping[str, KeptConsent]:
        """The last consent of each active owner, on or off, by name."""

    @property
    def counting(self) -> Mapping[str, KeptConsent]:
        """Consents by which command copies may be made, by owner."""

    def follow(self) -> bool:
        """Apply changes; return whether there were any."""


class AnswerSource(Protocol):
    """Messages of assist as send passes them on, unverified; see `ipc.datagrams.Inbox`."""

    def receive(self) -> Iterable[bytes]:
        """Return the waiting messages without blocking."""


class ResultSource(Protocol):
    """Ends of orders from the sealer thread; see `queue.SimpleQueue`."""

    def empty(self) -> bool:
        """Return whether none waits."""

    def get_nowait(self) -> CopyResult:
        """Return the next one."""


class PlayerFeed(Protocol):
    """State for the player; see `ipc.player_state.PlayerStateWriter`."""

    def set_muted(self, *, is_muted: bool) -> None:
        """State whether the microphone is muted."""

    def set_latest(self, latest: AskedReply | None) -> None:
        """State the ask that was signed last; None for one without a reply key."""

    def request_sound(self, sound: SoundName) -> object:
        """Request a built-in sound."""


class CopyRemover(Protocol):
    """Removal of command copies; see `copy_folder.CopyFolder`."""

    def expire(self) -> tuple[str, ...]:
        """Remove every copy that send has not taken in time; return the nonces of their asks."""


class VoiceControl:
    """Voice control of one run of hear. For the thread of the listen loop."""

    def __init__(  # noqa: PLR0913 - everything that voice control connects
        self,
        *,
        device: str,
        key: Ed25519PrivateKey,
        boot: str,
        consents: ConsentSource,
        answers: AnswerSource,
        copies: CopyRemover,
        results: ResultSource,
        player: PlayerFeed,
        take_reply_key: Callable[[], str | None],
        notify: Callable[[Notice], object],
        publish: Callable[[Event], object],
        reserve_seq: Callable[[], object],
        new_nonce: Callable[[], str],
        now: Callable[[], Instant],
        on_forgery: Callable[[], object] = bool,
        on_answered: Callable[[bool], object] = bool,
    ) -> None:
        """Start without an ask.

        Args:
            device: name of this device.
            key: private key of this device.
            boot: random id of this run.
            consents: of the owners of this device.
            answers: messages of assist from send.
            copies: removes copies that send does not take.
            results: ends of the orders, from the sealer thread.
            player: takes the latest ask and the sounds.
            take_reply_key: returns the public key that the player made for the next reply, each at
                most once; None if there is none.
            notify: sends a notice.
            publish: publishes an event.
            reserve_seq: makes the sealer take the number of the clip's envelope now.
            new_nonce: returns 32 random hex digits.
            now: both clocks.
            on_forgery: called once, when another assist than the allowed one has answered.
            on_answered: called with True for each answer that counts, and with False for each ask
                that ends without one.
        """
        self._device: Final = device
        self._key: Final = key
        self._dkey: Final = keys.device_id(key.public_key())
        self._boot: Final = boot
        self._consents: Final = consents
        self._answers: Final = answers
        self._copies: Final = copies
        self._player: Final = player
        self._take_reply_key: Final = take_reply_key
        self._notify: Final = notify
        self._publish: Final = publish
        self._reserve_seq: Final = reserve_seq
        self._new_nonce: Final = new_nonce
        self._now: Final = now
        self._on_forgery: Final = on_forgery
        self._on_answered: Final = on_answered
        self._open: Final = OpenAsk(device)
        self._results: Final = results
        self._assist: Ed25519PublicKey | None = None
        """Key of the assist that the keeper chose, while a consent counts."""
        self._asked: Ed25519PublicKey | None = None
        """Key of the assist of the open ask."""
        self._lamp: LampState | None = None
        self._lamp_until_s = float("-inf")
        self._is_muted = True
        self._position_s = 0.0
        self._follow_due_s = self._status_due_s = self._poke_due_s = float("-inf")
        self._announced: dict[str, tuple[str, int]] | None = None
        self._asks: dict[str, int] = {}
        self._copied: dict[str, int] = {}
        self._last_ask = self._last_owner = ""
        self._last_laid = 0
        """Copies of the last ask that were laid, less those that were removed."""
        self._is_forgery_logged = False
        self.rejected: dict[Rejection, int] = dict.fromkeys(Rejection, 0)
        """Messages of assist that were ignored, by reason."""
        self.malformed = 0
        """Datagrams that were not a message of assist."""

    @property
    def lamp_state(self) -> LampState | None:
        """State that the LED shows for a moment after a command; None for no such state."""
        return self._lamp

    @property
    def is_on(self) -> bool:
        """Whether an owner's consent counts, so that wakes are asked about."""
        return bool(self._consents.counting)

    def turn(self, position_s: float) -> None:
        """Process results and messages; to be called in every turn of the loop, before its audio.

        Args:
            position_s: position in the stream, in seconds; the time of events.
        """
        self._position_s = position_s
        now = self._now()
        while not self._results.empty():
            self._take_result(self._results.get_nowait())
        for ask in self._copies.expire():
            self._take_result(CopyResult(ask, "", "not-sent", now, was_removed=True))
        for payload in self._answers.receive():
            self._take_message(payload, now)
        if (end := self._open.expire(now)) is not None:
            self._end(end)
        if now.boot_s >= self._lamp_until_s:
            self._lamp = None
        if now.boot_s >= self._follow_due_s:
            self._follow(now)
        if now.boot_s >= self._status_due_s:
            self._send_status(now)

    def ask(self, level_dbfs: float, since_s: float) -> None:
        """Ask for a key at a wake, if an owner's consent counts.

        Args:
            level_dbfs: level of the word.
            since_s: time since the wake, in seconds.
        """
        now = self._now()
        self._follow(now)
        woke = Instant(now.boot_s - since_s, now.wall_s - since_s)
        if self._is_muted or not 0 <= since_s * 1_000 <= timing.WAKE_TO_ASK_MS:
            return
        nonce = self._sign_ask("wake", level_dbfs, since_s)
        if nonce is None:
            return
        # The disk works while assist answers, so it is no part of the time after the endpoint.
        self._reserve_seq()
        self._asked = self._assist
        if (end := self._open.begin(nonce, woke, self._now())) is not None:
            self._end(end)

    def order(self, clip: Clip) -> CommandOrder | None:
        """Return the order for a clip's command copy at its endpoint; None if there is none."""
        now = self._now()
        if clip.end_reason is EndReason.NO_SPEECH:
            if self._open.end():
                self._end("no-speech")
            return None
        self._follow(now)
        granted = self._open.grant(now)
        if isinstance(granted, CommandGrant):
            return CommandOrder(granted, self._consents.counting)
        if granted is not None:
            self._end(granted)
        return None

    def order_part(self) -> CommandOrder | None:
        """Return the order for a provisional part of the clip; None if there is none."""
        granted = self._open.grant_part(self._now())
        return None if granted is None else CommandOrder(granted, self._consents.counting)

    def confirm_part(self) -> None:
        """Tell assist that silence followed the last provisional part, once for each part."""
        ask, part = self._open.ask, self._open.confirm_part(self._now())
        if part is None:
            return
        confirmation = Confirmation(ask=ask, device=self._device, part=part)
        message = messages.sign_message(confirmation, self._key.sign)
        self._notify(AskNotice(message=msgspec.Raw(message)))

    def abandon(self) -> None:
        """End the ask of a clip that ended without an endpoint."""
        # Assist may have acted on a provisional part, whose outcome has not arrived.
        end: CommandEnd = "unknown" if self._open.has_parts else "interrupted"
        if self._open.end():
            self._end("muted" if self._is_muted else end)

    def set_muted(self, *, is_muted: bool) -> None:
        """State whether the microphone is muted; while it is, nothing is asked."""
        self._is_muted = is_muted
        self._player.set_muted(is_muted=is_muted)

    def _sign_ask(self, why: str, level_dbfs: float, since_s: float) -> str | None:
        """Sign and send an ask; return its nonce, or None if no consent counts."""
        counting = self._consents.counting
        if not counting or self._assist is None:
            return None
        nonce, reply = self._new_nonce(), self._take_reply_key()
        ask = Ask(
            ask=nonce,
            assist=keys.device_id(self._assist),
            device=self._device,
            dkey=self._dkey,
            level_db=max(-96, min(0, round(level_dbfs))),
            reply=reply,
            since_ms=int(since_s * 1_000),
            why="poke" if why == "poke" else "wake",
        )
        now = self._now()
        self._notify(AskNotice(message=msgspec.Raw(messages.sign_message(ask, self._key.sign))))
        latest = None
        if reply is not None:
            latest = AskedReply(
                ask=nonce,
                assist=keys.device_text(self._assist),
                reply=reply,
                boot_ms=int(now.boot_s * 1_000),
                wall_ms=int(now.wall_s * 1_000),
            )
        self._player.set_latest(latest)
        for owner in counting:
            self._asks[owner] = self._asks.get(owner, 0) + 1
        return nonce

    def _take_message(self, payload: bytes, now: Instant) -> None:
        try:
            message = messages.parse_from_assist(payload)
        except VoiceError:
            self.malformed += 1
            return
        match message:
            case None:
                self._take_poke(now)
            case _ if isinstance(message.statement, Outcome):
                self._take_outcome(message, message.statement, now)
            case _:
                self._take_answer(message, now)

    def _take_answer(self, message: SignedAnswer, now: Instant) -> None:
        rejection = self._open.take_answer(message.statement, lambda: self._is_signed(message), now)
        if rejection is None:
            self._on_answered(True)  # noqa: FBT003 - the callback's only argument
        else:
            self._reject(rejection)

    def _take_outcome(self, message: SignedOutcome, outcome: Outcome, now: Instant) -> None:
        end = self._open.take_outcome(outcome, lambda: self._is_signed(message), now)
        if isinstance(end, Rejection):
            self._reject(end)
        else:
            self._end(end)

    def _take_poke(self, now: Instant) -> None:
        if self._is_muted or self._open.is_open or now.boot_s < self._poke_due_s:
            return
        self._poke_due_s = now.boot_s + timing.POKE_INTERVAL_S
        # No answer to it counts: it opens no ask here.
        self._sign_ask("poke", -96.0, 0.0)

    def _is_signed(self, message: SignedAnswer | SignedOutcome) -> bool:
        if self._asked is None:
            return False
        try:
            message.verify(self._asked)
        except VoiceError:
            return False
        return True

    def _reject(self, rejection: Rejection) -> None:
        self.rejected[rejection] += 1
        if rejection is Rejection.FORGED and not self._is_forgery_logged:
            self._is_forgery_logged = True
            self._on_forgery()
            _log.error(
                "another assist answers: a message was signed by a key that no owner of this device"
                " allowed"
            )

    def _take_result(self, result: CopyResult) -> None:
        if result.reason is None or result.was_removed:
            self._count_copy(result)
        if result.reason is None:
            if result.is_last:
                self._open.lay(result.ask, result.at)
            else:
                self._open.lay_part(result.ask, result.part)
        # A provisional part that was not made changes nothing: the last part decides.
        elif (result.is_last or result.was_removed) and self._open.drop(result.ask):
            self._end(result.reason)

    def _count_copy(self, result: CopyResult) -> None:
        """Count a copy that was laid, or no longer one that was removed; either may come first."""
        if self._last_ask != result.ask:
            self._last_ask, self._last_laid = result.ask, 0
        if result.was_removed:
            self._last_laid -= 1
            is_changed, change = self._last_laid >= 0, -1
        else:
            self._last_laid += 1
            self._last_owner = result.owner
            is_changed, change = self._last_laid > 0, 1
        if is_changed:
            owner = self._last_owner
            self._copied[owner] = self._copied.get(owner, 0) + change
            self._status_due_s = result.at.boot_s

    def _end(self, end: CommandEnd) -> None:
        """Publish the end of an ask, and request its sound."""
        if end == "no-answer":
            self._on_answered(False)  # noqa: FBT003 - the callback's only argument
        self._publish(CommandEvent(time_s=self._position_s, end=end))
        if end in _SILENT or self._is_muted:
            return
        self._player.request_sound(_SOUNDS.get(end, "refused"))
        self._show("done" if end == "done" else "refused")

    def _show(self, lamp: LampState) -> None:
        self._lamp, self._lamp_until_s = lamp, self._now().boot_s + LAMP_S

    def _follow(self, now: Instant) -> None:
        self._follow_due_s = now.boot_s + FOLLOW_EVERY_S
        if not self._consents.follow() and self._announced is not None:
            return
        counting = self._consents.counting
        # All that count name the same assist: the keeper's.
        before = self._assist
        self._assist = next((_assist_key(one) for one in counting.values()), None)
        if before is not None and before != self._assist and self._open.end():
            self._end("not-allowed")
        self._announce({name: (one.assist, one.n) for name, one in counting.items()})
        self._status_due_s = now.boot_s

    def _announce(self, counting: dict[str, tuple[str, int]]) -> None:
        """Publish each consent that came into force or ended since the start, with a sound."""
        before, self._announced = self._announced, counting
        if before is None:
            return
        for owner in sorted(before.keys() | counting.keys()):
            if before.get(owner) != counting.get(owner):
                assist, n = counting.get(owner, before.get(owner, ("", 0)))
                is_on = owner in counting
                self._publish(
                    ConsentEvent(time_s=self._position_s, owner=owner, on=is_on, assist=assist, n=n)
                )
                self._show("done" if is_on else "refused")
                if not self._is_muted:
                    self._player.request_sound("consent")

    def _send_status(self, now: Instant) -> None:
        self._status_due_s = now.boot_s + STATUS_EVERY_S
        counting = self._consents.counting
        for owner, kept in self._consents.active.items():
            key = _assist_key(kept)
            if key is None:
                continue
            status = VoiceStatus(
                asks=self._asks.get(owner, 0),
                assist=keys.device_id(key),
                boot=self._boot,
                copies=self._copied.get(owner, 0),
                device=self._device,
                n=kept.n,
                on=int(owner in counting),
                owner=owner,
            )
            self._notify(
                VoiceNotice(message=msgspec.Raw(messages.sign_message(status, self._key.sign)))
            )


def _assist_key(consent: KeptConsent) -> Ed25519PublicKey | None:
    try:
        return keys.parse_device(consent.assist)
    except ConfigError:
        return None
