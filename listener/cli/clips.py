"""``earmark clips``: an owner's access to their clips, from any machine that has their key.

The arguments of all actions are here, and the actions that change the archive: ``erase``,
``retention``, ``keys`` and ``new-key``. ``clips_voice`` has ``voice``.
"""

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.argument_types import argument_type
from listener.cli import clips_audit, clips_browse, clips_read, clips_voice
from listener.cli.main import Subcommands, with_examples
from listener.clips.remembered import remember
from listener.clips.schema import KeysReply, RetentionReply, sanitize
from listener.clips.session import (
    Session,
    choose,
    parse_day,
    parse_moment,
    selection_fields,
)
from listener.clips.trust_store import RECEIPT_LIMIT_BYTES, TrustStore, receipt_name
from listener.clips.voice_record import GivenConsent, VoiceRecord
from listener.config import Config
from listener.envelope.format import ShortName
from listener.envelope.open import Identity
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.owner.key_rotation import KeyRotation, prove_rotation
from listener.quantities import quantity
from listener.rights import receipts, requests
from listener.storage.owner_files import read_identities

ClipPrefix = Annotated[str, Meta(pattern=r"^[0-9a-f-]{4,36}\Z")]
"""First characters of a clip's id, or all of them."""


def erase(
    arguments: argparse.Namespace, session: Session, ask: Callable[[str], str] | None = None
) -> int:
    """Erase the selected clips, and verify and store the archive's receipt.

    Args:
        arguments: of the command line.
        session: of the owner.
        ask: prompts for confirmation; None without a terminal.

    Returns:
        0; 1 when not confirmed, or a named clip does not exist.

    Raises:
        UsageError: nothing is selected, selections are combined, or no terminal can confirm.
        EarmarkError: the archive refuses, or its receipt is not valid.
    """
    arguments.clips = [session.find_clip(clip) for clip in arguments.clips]
    if arguments.receipts:
        arguments.clips = _find_returned(arguments, session)
        if not arguments.clips:
            if not arguments.json:
                print("no erased clip has returned")
            return 0
    erase_requests = _requests(arguments, session)
    if not arguments.yes and not _confirm(arguments, session, ask):
        print("earmark: nothing was erased", file=sys.stderr)
        return 1
    key = session.archive_key()
    missing = 0
    for request in erase_requests:
        data = session.asker.request_raw(request, most_bytes=RECEIPT_LIMIT_BYTES)
        receipt = receipts.parse_receipt(data, key)
        path = session.known.save_receipt(receipt_name(receipt), data)
        _check_receipt(receipt, session.asker.owner, request)
        absent = sorted(set(request.clips or ()) - set(receipt.clips))
        missing += len(absent)
        if arguments.json:
            summary = {"receipt": str(path), "count": receipt.count, "clips": receipt.clips}
            summary |= {"missing": absent, "head": msgspec.to_builtins(receipt.head)}
            print(json.dumps(summary))
        else:
            print(f"erased {quantity(receipt.count, 'clip')}; the signed receipt is {path}")
            for clip in absent:
                print(f"earmark: no such clip of this owner: {sanitize(clip)}", file=sys.stderr)
    return 1 if missing else 0


def _find_returned(arguments: argparse.Namespace, session: Session) -> list[str]:
    """Return the clips that the archive lists, and that a receipt on this computer says it erased.

    Raises:
        UsageError: clips are selected in another way, too.
    """
    if arguments.clips or arguments.all or any(selection_fields(arguments).values()):
        raise UsageError("--receipts selects the clips by itself", "earmark clips erase --receipts")
    key, owner = session.archive_key(), session.asker.owner
    erased: set[str] = set()
    for data in session.known.receipts():
        with contextlib.suppress(receipts.BadSignature):  # of another archive
            receipt = receipts.parse_receipt(data, key)
            if (receipt.kind, receipt.owner) == ("erase", owner):
                erased.update(receipt.clips)
    if not erased:
        return []
    return sorted({clip.clip for clip in session.list_clips(arguments)} & erased)


def _requests(arguments: argparse.Namespace, session: Session) -> list[requests.EraseRequest]:
    selection = selection_fields(arguments)
    is_range = selection["from"] is not None or selection["until"] is not None
    if (bool(arguments.clips) + is_range + arguments.all) != 1:
        raise UsageError(
            "select clips by id, by --from/--until, or by --all",
            "give exactly one of the three: earmark clips erase --help",
        )
    if arguments.not_mine and not arguments.clips:
        raise UsageError("--not-mine needs the ids of clips", "list them: earmark clips list")
    if not arguments.clips:
        return [_check_narrow(session.request("erase", all=arguments.all or None, **selection))]
    if arguments.device is not None:
        raise UsageError(
            "--device cannot be combined with clip ids", "use it with --from/--until or --all"
        )
    ids = sorted(set(arguments.clips))
    batches = [ids[at : at + requests.MOST_NAMED] for at in range(0, len(ids), requests.MOST_NAMED)]
    not_mine = arguments.not_mine or None
    return [
        _check_narrow(session.request("erase", clips=batch, not_mine=not_mine)) for batch in batches
    ]


def _check_narrow(request: requests.Request) -> requests.EraseRequest:
    if not isinstance(request, requests.EraseRequest):
        raise TypeError(request)
    return request


def _confirm(
    arguments: argparse.Namespace, session: Session, ask: Callable[[str], str] | None
) -> bool:
    if ask is None:
        raise UsageError(
            "erasing cannot be undone, and there is no terminal to confirm it", "pass --yes"
        )
    if arguments.clips:
        count_text = quantity(len(set(arguments.clips)), "clip")
    else:
        most = requests.MOST_LISTED
        count = sum(1 for _ in itertools.islice(session.list_clips(arguments), most))
        count_text = f"{most} or more clips" if count == most else quantity(count, "clip")
    try:
        answer = ask(f"Erase {count_text} of {session.asker.owner}? This cannot be undone. [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


def _check_receipt(receipt: receipts.Receipt, owner: str, request: requests.EraseRequest) -> None:
    fields = (receipt.kind, receipt.owner, receipt.request_sha256, receipt.count)
    if fields != ("erase", owner, requests.digest(request), len(receipt.clips)):
        raise EarmarkError(
            "the archive's receipt does not match the request",
            "check what is left with earmark clips list, and tell the archive's administrator",
        )


def retention(arguments: argparse.Namespace, session: Session) -> int:
    """Print the longest retention of the owner's clips in days, or set it.

    Raises:
        EarmarkError: the archive refuses, or does not answer.
    """
    reply = session.asker.request(session.request("retention", days=arguments.days), RetentionReply)
    if arguments.days not in {None, reply.days} or reply.owner != session.asker.owner:
        raise Unavailable("the archive did not store the retention", "try again later")
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(reply)))
    elif reply.days is None:
        print(f"{reply.owner}: clips are kept as long as the speaker set for each")
    else:
        print(
            f"{reply.owner}: {quantity(reply.days, 'day')} at most,"
            " or less where the speaker set less"
        )
    return 0


def keys(arguments: argparse.Namespace, session: Session) -> int:
    """Print the owner's active and retired keys, and which of them the identity file holds.

    Raises:
        EarmarkError: the archive refuses, or does not answer.
    """
    _show(session.asker.request(session.request("keys"), KeysReply), arguments, session)
    return 0


def new_key(arguments: argparse.Namespace, session: Session) -> int:
    """Replace the active key by that of another identity file; both keys prove it.

    Raises:
        ConfigError: the file does not hold exactly one key.
        EarmarkError: the archive refuses, or does not answer.
    """
    path = Path(arguments.new_identity)
    identities = read_identities(path)
    if len(identities) != 1:
        raise ConfigError(
            f"{path} holds {len(identities)} keys instead of one",
            "make a file with the new key alone: age-keygen -o new.key",
        )
    (following,) = identities
    before = session.asker.request(session.request("keys"), KeysReply)
    proofs = _proofs(session, before, following)
    record = VoiceRecord(session.known.folder.parent, session.asker.owner)
    consents = clips_voice.renew_consents(session, before, record, following)
    included = consents[: requests.MOST_CONSENTS]
    request = session.request(
        "new-key",
        recipient=following.recipient,
        proofs=proofs,
        consents=clips_voice.as_fields(included),
    )
    record.add({consent.device: GivenConsent.of(consent) for consent in included})
    reply = session.asker.request(request, KeysReply, following)
    if reply.active != following.okey:
        raise Unavailable("the archive did not store the new key", "try again later")
    if arguments.json:
        _show(reply, arguments, session)
        return 0
    _show(reply, arguments, session)
    proven = {proof["device"] for proof in proofs}
    forwarded = proven if reply.forwarded is None else proven & set(reply.forwarded)
    if forwarded:
        print(
            f"the proof was sent to {', '.join(sorted(forwarded))}: a speaker uses the new key from"
            " its next clip on. Until earmark clips keys shows the active key for a speaker, it"
            " still encrypts to the old one"
        )
    for device in sorted(reply.devices.keys() - forwarded):
        print(f"the archive does not forward the proof to {device}: run this on it:")
        print(_manual_commands(session.asker.owner, following.recipient, arguments.new_identity))
    if renewed := sorted(consent.device for consent in included if consent.on):
        print(f"voice control stays on at {', '.join(renewed)}: the consent was made again")
    if left := sorted(consent.device for consent in consents[len(included) :] if consent.on):
        print(f"voice control is off at {', '.join(left)}: give the consent again")
    print("keep the old key: older clips can only be decrypted with it")
    return 0


def _proofs(session: Session, reply: KeysReply, following: Identity) -> list[dict[str, str]]:
    """Return for each speaker the proof, by the active key, that the next key replaces it."""
    active = next((key for key in session.asker.identities if key.okey == reply.active), None)
    if active is None:
        raise EarmarkError(
            "the active key is not in this identity file",
            "pass the file with the active key: --identity FILE",
        )
    session.known.pin_devices(reply.devices, reply.retired_devices)
    proofs: list[dict[str, str]] = []
    for device, key in sorted(session.known.devices().items()):
        if device in reply.devices and len(proofs) < requests.MOST_PROOFS:
            rotation = KeyRotation(
                owner=session.asker.owner, device=device, old=active.okey, new=following.recipient
            )
            proof = prove_rotation(rotation, active.agreement(), following.agreement(), key)
            proofs.append({"device": device, "old": proof.old_proof, "new": proof.new_proof})
    return proofs


def _manual_commands(owner: str, recipient: str, path: str) -> str:
    return (
        f"  earmark owner new-key {owner} --key {recipient}\n"
        f"  earmark owner challenge {owner} --present | age -d -i {path}\n"
        f"  earmark owner confirm {owner} ANSWER"
    )


def _show(reply: KeysReply, arguments: argparse.Namespace, session: Session) -> None:
    held = {identity.okey for identity in session.asker.identities}
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(reply) | {"held": sorted(held)}))
        return
    for okey, state in [(reply.active, "active"), *((okey, "retired") for okey in reply.retired)]:
        where = "in this identity file" if okey in held else "not in this identity file"
        print(f"{okey}  {state:<7}  {where}")
    for device, sealed_to in sorted(reply.sealed_to.items()):
        state = "no clip yet"
        if sealed_to == reply.active:
            state = "encrypts to the active key"
        elif sealed_to is not None:
            state = f"newest clip encrypted to {sealed_to}, which is retired"
            if reply.forwarded is not None and device in reply.forwarded:
                state += "; the archive forwards the proof of the active key to it"
        print(f"{device}: {state}")
    active = next((key for key in session.asker.identities if key.okey == reply.active), None)
    behind = [
        device for device, okey in reply.sealed_to.items() if okey not in {None, reply.active}
    ]
    if behind and active is not None:
        print("if a speaker still uses a retired key after its next clip, run this on it:")
        print(_manual_commands(session.asker.owner, active.recipient, arguments.identity))


_EPILOG: Final = """\
Clips are decrypted on this machine: the secret key never leaves it. Each request is authorised by
a challenge that only the owner's key can decrypt.

list and play show local time. Times that are passed are UTC, such as 2026-11-22 or
2026-11-22T18:30; --from is inclusive, --until exclusive. A clip's id may be shortened to its first
characters.

With --remember, owner, identity and archive are the defaults from then on. earmark owner answer
makes them the defaults, too.
"""
_WHO: Final = "--owner ada --identity ada.key"

_ACTIONS: Final[dict[str, Callable[[argparse.Namespace, Session], int]]] = {
    "list": clips_read.show_clips,
    "play": clips_read.play_clip,
    "export": clips_read.export,
    "retention": retention,
    "log": clips_audit.show_log,
    "keys": keys,
    "new-key": new_key,
    "voice": clips_voice.show_or_change,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark clips``."""
    actions = Subcommands(
        parser,
        epilog=with_examples(
            _EPILOG,
            "earmark clips list",
            f"earmark clips list {_WHO}",
            f"earmark clips export {_WHO} --open my-clips",
            f"earmark clips list {_WHO} --archive https://home.lan:8443",
        ),
    )
    clip = argument_type(ClipPrefix, "id of a clip, or its first 4 characters or more")
    example_id = "0b0f6c9e-3d0e-4c6e-9a41-2f6d3a1c7e55"
    listing = _add(
        actions,
        "list",
        "list your clips",
        f"earmark clips list {_WHO} --archive https://home.lan:8443 --remember",
        "earmark clips list",
        "earmark clips list --day yesterday",
        "earmark clips list --day 2026-11-22",
        f"earmark clips list {_WHO} --from 2026-11-01 --device kitchen --open",
    )
    listing.add_argument(
        "--day",
        type=parse_day,
        metavar="DAY",
        help="only the clips of today or yesterday, by this computer's clock and time zone; or of"
        " a day in UTC, such as 2026-11-22",
    )
    _add_range(listing)
    listing.add_argument(
        "--open",
        action="store_true",
        help="download and decrypt each clip, and print its wake word, score and length",
    )
    playing = _add(
        actions,
        "play",
        "play a clip, or write it as FLAC",
        "earmark clips play 0b0f6c9e",
        f"earmark clips play {example_id} {_WHO}",
        f"earmark clips play {example_id} {_WHO} --to clip.flac",
    )
    playing.add_argument(
        "clip", type=clip, metavar="CLIP", help="id of the clip, or its first 4 characters or more"
    )
    playing.add_argument(
        "--to",
        metavar="FILE",
        help="write FLAC to FILE, or to standard output for - (default: play with aplay)",
    )
    exporting = _add(
        actions,
        "export",
        "download all clips as one ZIP of encrypted envelopes, and verify it",
        f"earmark clips export {_WHO}",
        f"earmark clips export {_WHO} --to 2026.zip --from 2026-01-01 --open my-clips",
    )
    exporting.add_argument("--to", metavar="FILE", help="path of the ZIP (default: NAME-clips.zip)")
    exporting.add_argument(
        "--open",
        metavar="DIR",
        help="also decrypt each clip into DIR, as FLAC files with an index.html",
    )
    exporting.add_argument(
        "--log-after",
        metavar="FILE",
        help="receipt, or ZIP of an earlier export: include only the later rows of the access log",
    )
    _add_range(exporting)
    erasing = _add(
        actions,
        "erase",
        "erase clips permanently: by id, by time, or all",
        f"earmark clips erase {example_id} {_WHO}",
        f"earmark clips erase {_WHO} --from 2026-11-22 --until 2026-11-23",
        f"earmark clips erase {_WHO} --all --yes",
        "earmark clips erase --not-mine 0b0f6c9e",
        "earmark clips erase --receipts",
    )
    erasing.add_argument(
        "clips",
        nargs="*",
        type=clip,
        metavar="CLIP",
        help="ids of clips, or their first 4 characters or more",
    )
    erasing.add_argument(
        "--receipts",
        action="store_true",
        help="the clips of the receipts on this computer that are there again, because the hub was"
        " restored from an older backup",
    )
    erasing.add_argument(
        "--not-mine",
        action="store_true",
        help="the clips are of another person's voice: the archive also counts them, by speaker"
        " and without a name",
    )
    erasing.add_argument("--all", action="store_true", help="every clip of the owner")
    erasing.add_argument("--yes", action="store_true", help="erase without confirmation")
    _add_range(erasing)
    keeping = _add(
        actions,
        "retention",
        "print or set how long clips are kept",
        f"earmark clips retention {_WHO}",
        f"earmark clips retention 30 {_WHO}",
    )
    keeping.add_argument(
        "days",
        nargs="?",
        type=int,
        metavar="DAYS",
        help="erase clips after DAYS days, 1 to 3650 (default: print the current value)",
    )
    log = _add(
        actions,
        "log",
        "print your access log, and verify its hash chain",
        f"earmark clips log {_WHO}",
        f"earmark clips log {_WHO} --json",
        "earmark clips log --verify log.jsonl",
    )
    log.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="FILE",
        help="verify without printing the rows: the archive's log, or offline one in FILE, saved"
        " with --json or taken from an export",
    )
    log.add_argument(
        "--receipt",
        action="append",
        default=[],
        metavar="FILE",
        help="check that the log still contains the head in this receipt; may be repeated",
    )
    check = _add(
        actions,
        "verify",
        "verify an export or a receipt offline",
        "earmark clips verify ada-clips.zip",
        f"earmark clips verify ada-clips.zip {_WHO}",
    )
    check.add_argument("file", metavar="FILE", help="ZIP of an export, or a receipt")
    check.add_argument(
        "--archive-key",
        metavar="KEY",
        help="public key of the archive, ed25519:… (default: the key seen at the first contact)",
    )
    _add(
        actions,
        "keys",
        "list your active and retired keys, and the key each speaker uses",
        f"earmark clips keys {_WHO}",
    )
    newer = _add(
        actions,
        "new-key",
        "replace your key; the old key authorises the new one for archive and speakers",
        f"earmark clips new-key new.key {_WHO}",
    )
    newer.add_argument("new_identity", metavar="FILE", help="new secret key, made by age-keygen")
    voice = _add(
        actions,
        "voice",
        "allow or end voice control, and show which speakers follow",
        f"earmark clips voice {_WHO}",
        f"earmark clips voice on --speaker kitchen --assist ed25519:... {_WHO}",
        f"earmark clips voice off {_WHO}",
    )
    voice.add_argument(
        "state",
        nargs="?",
        choices=("on", "off"),
        help="on: the speakers send your commands to the assist service; off: they do not"
        " (default: show the consents; exit code 1 if a speaker does not follow yours)",
    )
    voice.add_argument(
        "--speaker",
        action="append",
        default=[],
        type=argument_type(ShortName, "speaker's name"),
        metavar="NAME",
        help="a speaker; may be repeated (default for off: every speaker)",
    )
    voice.add_argument(
        "--assist",
        metavar="ed25519:...",
        help="for on: public key of the assist service, as the hub's own screen shows it",
    )

    browsing = _add(
        actions,
        "browse",
        "show your clips in a browser on this computer, decrypted there",
        "earmark clips browse",
        "earmark clips browse --no-open --language de",
        "earmark clips browse --owner ada --archive https://home.lan:8443",
        has_identity=False,
    )
    clips_browse.add_options(browsing)


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Run the action and return the exit code.

    Raises:
        EarmarkError: the action failed, or the archive refused.
    """
    home = Path(settings.home)
    if arguments.action == "verify":
        return clips_audit.verify_file(arguments, TrustStore(home))
    if arguments.action == "log":
        arguments.verify_wanted = arguments.verify is not None
        if arguments.verify:
            return clips_audit.verify_log_file(arguments, TrustStore(home))
    # The page has the key in the browser; this process reads none.
    session = None if arguments.action == "browse" else Session.create(arguments, settings)
    if arguments.remember:
        chosen = choose(arguments, home)
        paths = {
            name: None if path is None else str(Path(path).absolute())
            for name, path in (("identity", chosen.identity), ("ca", chosen.ca))
        }
        saved = remember(home, msgspec.structs.replace(chosen, **paths))
        print(f"earmark: earmark clips uses these options from now on: {saved}", file=sys.stderr)
    if session is None:
        return clips_browse.browse(arguments, settings)
    if arguments.action == "play":
        arguments.clip = session.find_clip(arguments.clip)
    if arguments.action == "erase":
        return erase(arguments, session, input if sys.stdin.isatty() else None)
    return _ACTIONS[arguments.action](arguments, session)


def _add(
    actions: Subcommands, name: str, about: str, *examples: str, has_identity: bool = True
) -> argparse.ArgumentParser:
    action = actions.add(name, about, *examples)
    action.add_argument(
        "--owner",
        type=argument_type(ShortName, "owner's name"),
        metavar="NAME",
        help="your owner name in the household (default: as remembered)",
    )
    if has_identity:
        action.add_argument(
            "--identity",
            metavar="FILE",
            help="your secret key, made by earmark owner key or age-keygen (default: as"
            " remembered)",
        )
    action.add_argument(
        "--archive",
        metavar="ADDRESS",
        help="https://HOST:PORT, or the path of a Unix socket (default: as remembered, else the"
        " socket of the archive in the data directory)",
    )
    action.add_argument(
        "--ca",
        metavar="FILE",
        help="CA certificate of the household (default: as remembered, else the one stored by"
        " household join)",
    )
    action.add_argument(
        "--remember",
        action="store_true",
        help="make these options the defaults, in clips.toml of the data directory; it holds"
        " the key's path, never the key",
    )
    action.add_argument("--json", action="store_true", help="print one JSON object a line")
    return action


def _add_range(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--from", dest="from_t", type=parse_moment, metavar="TIME", help="from this time on, UTC"
    )
    action.add_argument(
        "--until", dest="until_t", type=parse_moment, metavar="TIME", help="before this time, UTC"
    )
    action.add_argument(
        "--device",
        type=argument_type(ShortName, "device's name"),
        metavar="NAME",
        help="only clips of this speaker",
    )
