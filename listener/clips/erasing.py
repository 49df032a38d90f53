"""``earmark clips erase``: for good, with a receipt that is checked and kept."""

import argparse
import itertools
import json
import sys
from collections.abc import Callable

import msgspec

from listener.clips.answers import sanitize
from listener.clips.desk import Session, selection_fields
from listener.errors import EarmarkError, UsageError
from listener.rights import receipts, requests

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
