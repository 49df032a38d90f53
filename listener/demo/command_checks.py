"""Checks of what the broker carried and the files hold after a spoken command."""

from collections.abc import Sequence
from pathlib import Path

import pyrage

from listener.demo.broker import CapturedMessage
from listener.demo.checks import ClaimChecks
from listener.demo.households import DEVICE, LAMP_ON
from listener.envelope.format import parse_envelope
from listener.errors import VoiceError
from listener.mqtt import topics
from listener.voice.command_copy import parse_copy
from listener.voice.messages import Outcome, parse_from_assist


def copies(passed: Sequence[CapturedMessage]) -> list[CapturedMessage]:
    """Return the command copies among messages; each once, however often it was sent."""
    found = {one.topic: one for one in passed if topics.SPOKEN.levels(one.topic)}
    return list(found.values())


def is_for_assist(message: CapturedMessage) -> bool:
    """Return whether a speaker sent the message to assist: an ask, or a command copy."""
    return bool(topics.ASK.levels(message.topic) or topics.SPOKEN.levels(message.topic))


def outcomes(passed: Sequence[CapturedMessage]) -> list[str]:
    """Return the outcomes of commands that assist has published, in their order."""
    found: list[str] = []
    for message in passed:
        if topics.ANSWER.levels(message.topic):
            try:
                answer = parse_from_assist(message.payload)
            except VoiceError:
                continue
            if answer is not None and isinstance(answer.statement, Outcome):
                found.append(answer.statement.outcome)
    return found


def check_lamp(facts: ClaimChecks, lamp: Sequence[CapturedMessage]) -> None:
    """Check that the lamp was turned on, by one message.

    Args:
        facts: receives the claim.
        lamp: messages on the lamp's topic.
    """
    facts.check(
        "the command turned the lamp on",
        when=[one.payload for one in lamp] == [LAMP_ON.encode()],
    )


def check_copies(
    facts: ClaimChecks, passed: Sequence[CapturedMessage], identities: Sequence[str]
) -> None:
    """Check who sent a command copy, and which keys open it.

    Args:
        facts: receives the claims.
        passed: all messages since before the command.
        identities: secret keys of all owners, ``AGE-SECRET-KEY-1…``.
    """
    senders = {
        levels["device"]
        for one in passed
        for topic in (topics.ASK, topics.SPOKEN)
        if (levels := topic.levels(one.topic))
    }
    facts.check(
        "only the speaker whose owner allowed it asked assist, and sent a command copy",
        when=senders == {DEVICE} and bool(copies(passed)),
    )
    facts.check(
        "no key of an owner opens the command copy, and each opens the owner's own clip",
        when=not any(
            _opens(parse_copy(one.payload).lines.ciphertext, identities) for one in copies(passed)
        )
        and all(
            any(_opens(_clip(one), [identity]) for one in passed if one.is_clip)
            for identity in identities
        ),
    )


def check_text(facts: ClaimChecks, root: Path, sentences: Sequence[str]) -> None:
    """Check that no file below a folder holds what was said.

    Args:
        facts: receives the claim.
        root: the folder.
        sentences: what was said, with the wake word first.
    """
    commands = [text.partition(",")[2].strip(" .").lower().encode() for text in sentences]
    facts.check(
        "no file holds the text of the command",
        when=all(commands)
        and not any(
            command in path.read_bytes().lower()
            for path in root.rglob("*")
            if path.is_file()
            for command in commands
        ),
    )


def _clip(message: CapturedMessage) -> bytes:
    return parse_envelope(message.payload).ciphertext


def _opens(ciphertext: bytes, identities: Sequence[str]) -> bool:
    try:
        pyrage.decrypt(ciphertext, [pyrage.x25519.Identity.from_str(one) for one in identities])
    except pyrage.DecryptError:
        return False
    return True
