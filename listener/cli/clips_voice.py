"""``earmark clips voice``: an owner's consent to voice control, and which speakers follow it."""

import argparse
import json
import sys
import time
from collections.abc import Sequence

import msgspec

from listener.clips.schema import KeysReply, VoiceReply
from listener.clips.session import Session
from listener.clips.voice_record import GivenConsent, VoiceRecord
from listener.clips.voice_view import (
    SpeakerConsent,
    compare_consents,
    fingerprint_of,
    parse_assist,
)
from listener.envelope import keys
from listener.envelope.open import Identity
from listener.errors import EarmarkError, UsageError
from listener.rights import requests
from listener.voice.consent import Consent


def show_or_change(arguments: argparse.Namespace, session: Session) -> int:
    """Print which consents the speakers follow; with ``on`` or ``off``, give new ones first.

    Returns:
        0; 1 if a speaker does not follow the owner's last consent.

    Raises:
        EarmarkError: the archive refuses, or does not answer.
        UsageError: the arguments do not say which speakers, or which assist.
    """
    if arguments.state is None and (arguments.assist is not None or arguments.speaker):
        raise UsageError(
            "--speaker and --assist are for on and off", "give on or off, or neither option"
        )
    record = VoiceRecord(session.known.folder.parent, session.asker.owner)
    reply = session.asker.request(session.request("keys"), KeysReply)
    before = compare(session, reply, record)
    if arguments.state is None:
        return _show(before, arguments)
    active = active_identity(session, reply)
    chosen = _choose(before, arguments)
    made = [
        one.make(
            session.asker.owner,
            active,
            on=arguments.state == "on",
            assist=_assist(one, arguments),
            now_s=time.time(),
        )
        for one in chosen
    ]
    # Recorded first: what the archive received may be in force even if its answer is lost.
    record.add({consent.device: GivenConsent.of(consent) for consent in made})
    stored = VoiceReply(owner=session.asker.owner)
    for at in range(0, len(made), requests.MOST_CONSENTS):
        stored = _stored(session, made[at : at + requests.MOST_CONSENTS])
    names = {one.speaker for one in chosen}
    after = [one for one in compare(session, reply, record, stored) if one.speaker in names]
    _show(after, arguments)
    if not arguments.json:
        _print_next_steps(after, session.asker.owner, is_on=arguments.state == "on")
    return 0


def compare(
    session: Session, reply: KeysReply, record: VoiceRecord, stored: VoiceReply | None = None
) -> list[SpeakerConsent]:
    """Return the comparison of the owner's consents, for each speaker that the archive knows.

    Args:
        session: of the owner.
        reply: the archive's list of keys; new ones are pinned.
        record: of the owner.
        stored: the archive's reply to ``voice``; None to request it.

    Raises:
        EarmarkError: a speaker's key differs from the pinned one, or the archive refuses.
    """
    session.known.pin_devices(reply.devices, reply.retired_devices)
    devices = {name: key for name, key in session.known.devices().items() if name in reply.devices}
    return compare_consents(
        _stored(session) if stored is None else stored,
        record.consents(),
        devices,
        session.asker.owner,
        session.asker.identities,
    )


def _stored(session: Session, consents: Sequence[Consent] = ()) -> VoiceReply:
    request = session.request("voice", consents=as_fields(consents))
    reply: VoiceReply = session.asker.request(request, VoiceReply)
    return reply


def active_identity(session: Session, reply: KeysReply) -> Identity:
    """Return the identity of the owner's active key.

    Raises:
        EarmarkError: it is not in the identity file.
    """
    active = next((key for key in session.asker.identities if key.okey == reply.active), None)
    if active is None:
        raise EarmarkError(
            "the active key is not in this identity file",
            "pass the file with the active key: --identity FILE",
        )
    return active


def renew_consents(
    session: Session, reply: KeysReply, record: VoiceRecord, following: Identity
) -> list[Consent]:
    """Return the owner's consents made again with the key that replaces the active one.

    Each is what the owner last gave. What a speaker states counts only as off: with a copy
    of its key somebody else could state on.

    Args:
        session: of the owner.
        reply: the archive's list of keys.
        record: of the owner.
        following: the new key.

    Raises:
        EarmarkError: a speaker's key differs from the pinned one, or the archive refuses.
    """
    try:
        compared = compare(session, reply, record)
    except UsageError:
        return []  # an archive of a version before voice control
    return [
        one.make(
            session.asker.owner, following, on=one.is_on, assist=one.given.assist, now_s=time.time()
        )
        for one in compared
        if one.given is not None
    ]


def as_fields(consents: Sequence[Consent]) -> list[dict[str, object]]:
    """Return consents as a request has them: without owner, key and version."""
    return [
        {name: getattr(consent, name) for name in requests.VoiceConsent.__struct_fields__}
        for consent in consents
    ]


def _choose(
    compared: Sequence[SpeakerConsent], arguments: argparse.Namespace
) -> list[SpeakerConsent]:
    names = set(arguments.speaker)
    if arguments.state == "on" and (not names or arguments.assist is None):
        raise UsageError(
            "on needs the speakers and the assist service that may receive your commands",
            "read the key off the hub's own screen (earmark assist key), then:"
            " earmark clips voice on --speaker kitchen --assist ed25519:…",
        )
    known = {one.speaker for one in compared}
    if unknown := sorted(names - known):
        raise UsageError(
            f"the archive has no speaker {unknown[0]!r}",
            f"choose one of: {', '.join(sorted(known)) or 'none'}",
        )
    return [one for one in compared if one.speaker in names or not names]


def _assist(one: SpeakerConsent, arguments: argparse.Namespace) -> str:
    if arguments.assist is not None:
        return parse_assist(arguments.assist)
    # An off names a key too; without any, the speaker's own, which no assist service has.
    return keys.device_text(one.key) if one.given is None else one.given.assist


def _show(compared: Sequence[SpeakerConsent], arguments: argparse.Namespace) -> int:
    for one in compared:
        print(json.dumps(_fields(one)) if arguments.json else _text(one))
    if not compared and not arguments.json:
        print("the archive knows no speakers")
    return 1 if any(one.state not in {"none", "follows"} for one in compared) else 0


def _fields(one: SpeakerConsent) -> dict[str, object]:
    return {
        "speaker": one.speaker,
        "state": one.state,
        "given": None if one.given is None else msgspec.to_builtins(one.given),
        "recorded_here": one.is_recorded,
        "forwarded": one.is_forwarded,
        "follows": None if one.status is None else msgspec.to_builtins(one.status),
    }


def _text(one: SpeakerConsent) -> str:
    given, status = one.given, one.status
    if given is None:
        parts = [f"{one.speaker}: no consent"]
    else:
        parts = [f"{one.speaker}: {_word(given.on, fingerprint_of(given.assist))}"]
        if not one.is_recorded:
            parts.append("given on another machine with your key")
        if not one.is_forwarded:
            parts.append("the archive does not forward it")
    if one.state != "none":
        parts.append(_comparison(one))
    if status is not None:
        parts.append(f"{status.asks} asks and {status.copies} command copies since it started")
    return "; ".join(parts)


def _comparison(one: SpeakerConsent) -> str:
    status = one.status
    if status is None:
        return "the speaker has not stated which consent it follows"
    word = _word(status.on, status.assist)
    match one.state:
        case "follows":
            return "the speaker follows it"
        case "behind":
            return f"the speaker stays behind: {word}"
        case "refused":
            return "the speaker makes no command copies: its keeper allows no assist, or another"
        case _ if not status.on:
            return "switched off at the speaker since"
        case _:
            return (
                f"the speaker is {word}, which your key did not state here: if you did not switch"
                " it on at the speaker, switch it off there, and tell your household"
            )


def _word(on: int, assist: str | None) -> str:
    return f"on for the assist {assist}" if on else "off"


def _print_next_steps(compared: Sequence[SpeakerConsent], owner: str, *, is_on: bool) -> None:
    if all(one.state == "follows" for one in compared):
        return
    print("to see later whether a speaker follows: earmark clips voice", file=sys.stderr)
    if not is_on:
        print(
            f"to switch off at once, at the speaker: earmark owner voice off {owner}",
            file=sys.stderr,
        )
