"""``earmark clips``: an owner and her clips, from any machine that has her key.

``earmark clips erase``: for good, with a receipt that is checked and kept.

``earmark clips retention``, ``keys`` and ``new-key``: what the archive holds itself to.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from listener.cli import clips_audit, clips_read
from listener.cli.main import Subcommands
from listener.clips.schema import KeysReply, RetentionReply, sanitize
from listener.clips.session import Session, argument_type, parse_moment, selection_fields
from listener.clips.trust_store import TrustStore
from listener.config import Config
from listener.envelope.format import ClipId, ShortName
from listener.envelope.open import Identity
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.owner.key_rotation import KeyRotation, prove_rotation
from listener.rights import receipts, requests
from listener.rights.requests import Day
from listener.storage.owner_files import read_identities

_RECEIPT_LIMIT_BYTES = 64 << 20


def erase(
    arguments: argparse.Namespace, desk: Session, ask: Callable[[str], str] | None = None
) -> int:
    """Erase what the command line names.

    Args:
        arguments: the command line's.
        desk: where she asks from.
        ask: asks a person; None where nobody is there to be asked.

    Returns:
        0; 1 when she thought better of it, or a clip that she named was not there.

    Raises:
        UsageError: nothing is named, or too much, or nobody can be asked.
        EarmarkError: the archive says no, or its receipt is not its own.
    """
    asked = _requests(arguments, desk)
    if not arguments.yes and not _confirm(arguments, desk, ask):
        print("earmark: nothing was erased", file=sys.stderr)
        return 1
    key = desk.archive_key()
    missing = 0
    for request in asked:
        data = desk.asker.request_raw(request, most_bytes=_RECEIPT_LIMIT_BYTES)
        said = receipts.parse_receipt(data, key)
        name = f"erase-{said.t.replace(':', '')}-{said.head.n}"
        path = desk.known.save_receipt(name, data)
        _confirm_typed(said, desk.asker.owner, request)
        left = sorted(set(request.clips or ()) - set(said.clips))
        missing += len(left)
        if arguments.json:
            summary = {"receipt": str(path), "count": said.count, "clips": said.clips}
            print(json.dumps(summary | {"missing": left, "head": msgspec.to_builtins(said.head)}))
        else:
            print(f"erased {said.count} clips; the signed receipt is {path}")
            for clip in left:
                print(f"earmark: not there, or not hers: {sanitize(clip)}", file=sys.stderr)
    return 1 if missing else 0


def _requests(arguments: argparse.Namespace, desk: Session) -> list[requests.EraseRequest]:
    chosen = selection_fields(arguments)
    ranged = chosen["from"] is not None or chosen["until"] is not None
    if (bool(arguments.clips) + ranged + arguments.all) != 1:
        raise UsageError(
            "erase what?", "clips by their ids, or --from and --until, or --all: one of the three"
        )
    if not arguments.clips:
        all_of_it = arguments.all or None
        return [_check_narrow(desk.request("erase", all=all_of_it, **chosen))]
    if arguments.device is not None:
        raise UsageError("a clip has its device already", "--device goes with a range or --all")
    ids = sorted(set(arguments.clips))
    batches = [ids[at : at + requests.MOST_NAMED] for at in range(0, len(ids), requests.MOST_NAMED)]
    return [_check_narrow(desk.request("erase", clips=batch)) for batch in batches]


def _check_narrow(request: requests.Request) -> requests.EraseRequest:
    if not isinstance(request, requests.EraseRequest):
        raise TypeError(request)
    return request


def _confirm(
    arguments: argparse.Namespace, desk: Session, ask: Callable[[str], str] | None
) -> bool:
    if ask is None:
        raise UsageError(
            "erasing is for good, and nobody is here to be asked", "--yes says that it is meant"
        )
    if arguments.clips:
        many = str(len(set(arguments.clips)))
    else:
        most = requests.MOST_LISTED
        count = sum(1 for _ in itertools.islice(desk.list_clips(arguments), most))
        many = f"{most} or more" if count == most else str(count)
    try:
        answer = ask(f"Erase {many} clips of {desk.asker.owner} for good? [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


def _confirm_typed(said: receipts.Receipt, owner: str, request: requests.EraseRequest) -> None:
    told = (said.kind, said.owner, said.request_sha256, said.count)
    if told != ("erase", owner, requests.digest(request), len(said.clips)):
        raise EarmarkError(
            "the archive's receipt is for something else", "list what is there still, and ask why"
        )


def retention(arguments: argparse.Namespace, desk: Session) -> int:
    """Say how long clips are kept at most, or shorten it.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    reply = desk.asker.request(desk.request("retention", days=arguments.days), RetentionReply)
    if arguments.days not in {None, reply.days} or reply.owner != desk.asker.owner:
        raise Unavailable("the archive did not take it", "try again later")
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(reply)))
    elif reply.days is None:
        print(f"{reply.owner}: each clip as long as the speaker signed for it")
    else:
        print(f"{reply.owner}: {reply.days} days at most, and none longer than the speaker signed")
    return 0


def keys(arguments: argparse.Namespace, desk: Session) -> int:
    """Say which keys count as hers, and which of them this identity holds.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    _show(desk.asker.request(desk.request("keys"), KeysReply), arguments, desk)
    return 0


def new_key(arguments: argparse.Namespace, desk: Session) -> int:
    """Put the key of another identity in place of the active one; both are proved here.

    Raises:
        ConfigError: the file holds no key, or several.
        EarmarkError: the archive says no, or does not answer.
    """
    path = Path(arguments.new_identity)
    identities = read_identities(path)
    if len(identities) != 1:
        raise ConfigError(
            f"{path} holds {len(identities)} keys",
            "the new one alone: age-keygen -o new.key makes it",
        )
    (following,) = identities
    before = desk.asker.request(desk.request("keys"), KeysReply)
    proofs = _proofs(desk, before, following)
    request = desk.request("new-key", recipient=following.recipient, proofs=proofs)
    reply = desk.asker.request(request, KeysReply, following)
    if reply.active != following.okey:
        raise Unavailable("the archive did not take the new key", "try again later")
    if arguments.json:
        _show(reply, arguments, desk)
        return 0
    _show(reply, arguments, desk)
    if proofs:
        print(
            "each speaker was sent the proof, and follows before its next clip when the archive"
            " reaches it; earmark clips keys shows which has"
        )
    left = sorted(reply.devices.keys() - {one["device"] for one in proofs})
    for device in left:
        print(f"on {device} a person has to do it:")
        print(_manual_commands(desk.asker.owner, following.recipient, arguments.new_identity))
    print("to open older clips, and those that are under way, keep the old key")
    return 0


def _proofs(desk: Session, reply: KeysReply, following: Identity) -> list[dict[str, str]]:
    """Return what proves to each speaker that the next key is hers, by the one that it seals to."""
    active = next((one for one in desk.asker.identities if one.okey == reply.active), None)
    if active is None:
        raise EarmarkError(
            "the active key is not in this identity", "it has to prove the one that follows it"
        )
    desk.known.pin_devices(reply.devices)
    proofs: list[dict[str, str]] = []
    for device, key in sorted(desk.known.devices().items()):
        if device in reply.devices and len(proofs) < requests.MOST_PROOFS:
            bare = KeyRotation(
                owner=desk.asker.owner, device=device, old=active.okey, new=following.recipient
            )
            proof = prove_rotation(bare, active.agreement(), following.agreement(), key)
            proofs.append({"device": device, "old": proof.old_proof, "new": proof.new_proof})
    return proofs


def _manual_commands(owner: str, recipient: str, path: str) -> str:
    return (
        f"  earmark owner new-key {owner} --key {recipient}\n"
        f"  earmark owner challenge {owner} --present | age -d -i {path}\n"
        f"  earmark owner confirm {owner} ANSWER"
    )


def _show(reply: KeysReply, arguments: argparse.Namespace, desk: Session) -> None:
    held = {identity.okey for identity in desk.asker.identities}
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(reply) | {"held": sorted(held)}))
        return
    for okey, what in [(reply.active, "active"), *((one, "retired") for one in reply.retired)]:
        where = "in this identity" if okey in held else "not in this identity"
        print(f"{okey}  {what:<7}  {where}")
    for device, sealed_to in sorted(reply.sealed_to.items()):
        state = "no clip of hers yet"
        if sealed_to == reply.active:
            state = "seals to the active key"
        elif sealed_to is not None:
            state = f"its newest clip is sealed to {sealed_to}, which is retired"
        print(f"{device}: {state}")
    active = next((one for one in desk.asker.identities if one.okey == reply.active), None)
    behind = [
        device for device, okey in reply.sealed_to.items() if okey not in {None, reply.active}
    ]
    if behind and active is not None:
        print("a speaker that still stays behind after its next clip needs a person there:")
        print(_manual_commands(desk.asker.owner, active.recipient, arguments.identity))


_EPILOG: Final = """\
Your key stays on this machine: the archive asks a question that only it can read, and each clip is
opened here. Times are UTC; --from is included, --until is not.
"""

_ACTIONS: Final[dict[str, Callable[[argparse.Namespace, Session], int]]] = {
    "list": clips_read.show_clips,
    "play": clips_read.play_clip,
    "export": clips_read.export,
    "retention": retention,
    "log": clips_audit.show_log,
    "keys": keys,
    "new-key": new_key,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``clips`` takes."""
    actions = Subcommands(parser, epilog=_EPILOG)
    clip = argument_type(ClipId, "id of a clip")
    listing = _add(actions, "list", "say which clips are kept")
    listing.add_argument("--day", type=argument_type(Day, "day such as 2026-11-22"), metavar="DAY")
    _add_range(listing)
    listing.add_argument(
        "--open", action="store_true", help="fetch and open each: its word, score and length"
    )
    playing = _add(actions, "play", "hear a clip, or write it")
    playing.add_argument("clip", type=clip, metavar="CLIP", help="its id")
    playing.add_argument(
        "--to", metavar="FILE", help="write FLAC there, - for the standard output (default: aplay)"
    )
    exporting = _add(actions, "export", "take them all home in one ZIP, sealed, and check it")
    exporting.add_argument("--to", metavar="FILE", help="the ZIP (default: NAME-clips.zip)")
    exporting.add_argument(
        "--open", metavar="DIR", help="open each too: FLAC files and index.html there, in the clear"
    )
    _add_range(exporting)
    erase = _add(actions, "erase", "erase some, those of a time, or all, for good")
    erase.add_argument("clips", nargs="*", type=clip, metavar="CLIP", help="ids")
    erase.add_argument("--all", action="store_true", help="every clip there is")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    _add_range(erase)
    keeping = _add(actions, "retention", "say how long clips are kept, or keep them shorter")
    keeping.add_argument("days", nargs="?", type=int, metavar="DAYS", help="1 to 3650")
    log = _add(actions, "log", "say who asked for what, and check that nobody rewrote it")
    log.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="FILE",
        help="only check it: the archive's, or one saved with --json or from an export, offline",
    )
    log.add_argument(
        "--receipt",
        action="append",
        default=[],
        metavar="FILE",
        help="it must pass through where the log ended by this receipt; may be repeated",
    )
    check = _add(actions, "verify", "check an export or a receipt, without the archive")
    check.add_argument("file", metavar="FILE", help="a ZIP of export, or a receipt")
    check.add_argument(
        "--archive-key", metavar="KEY", help="ed25519:… (default: of the archive that was met)"
    )
    _add(actions, "keys", "say which of your keys count")
    newer = _add(
        actions, "new-key", "put another key in place of yours, proven by both; speakers follow"
    )
    newer.add_argument("new_identity", metavar="FILE", help="the new key, as age-keygen made it")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Do the action.

    Raises:
        EarmarkError: it cannot be done, or the answer is no.
    """
    home = Path(settings.home)
    if arguments.action == "verify":
        return clips_audit.verify_file(arguments, TrustStore(home))
    if arguments.action == "log":
        arguments.verify_wanted = arguments.verify is not None
        if arguments.verify:
            return clips_audit.verify_log_file(arguments, TrustStore(home))
    desk = Session.create(arguments, settings)
    if arguments.action == "erase":
        return erase(arguments, desk, input if sys.stdin.isatty() else None)
    return _ACTIONS[arguments.action](arguments, desk)


def _add(actions: Subcommands, name: str, about: str) -> argparse.ArgumentParser:
    action = actions.add(name, about)
    action.add_argument(
        "--owner", type=argument_type(ShortName, "owner's name"), metavar="NAME", help="who you are"
    )
    action.add_argument("--identity", metavar="FILE", help="your secret key, as age-keygen made it")
    action.add_argument(
        "--archive",
        metavar="ADDRESS",
        help="https://HOST:PORT, or the path of its socket (default: the one of this machine)",
    )
    action.add_argument(
        "--ca", metavar="FILE", help="the household's authority (default: as joining brought it)"
    )
    action.add_argument("--json", action="store_true", help="one JSON object a line")
    return action


def _add_range(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--from", dest="from_t", type=parse_moment, metavar="TIME", help="from then on"
    )
    action.add_argument(
        "--until", dest="until_t", type=parse_moment, metavar="TIME", help="before then"
    )
    action.add_argument("--device", type=argument_type(ShortName, "device's name"), metavar="NAME")
