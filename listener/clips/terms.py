"""``earmark clips retention``, ``keys`` and ``new-key``: what the archive holds itself to."""

import argparse
import json
from pathlib import Path

import msgspec

from listener.clips.answers import KeysAnswer, RetentionAnswer
from listener.clips.desk import Desk
from listener.errors import ConfigError, Unavailable
from listener.unsealed import read_identities


def retention(arguments: argparse.Namespace, desk: Desk) -> int:
    """Say how long clips are kept at most, or shorten it.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    told = desk.asker.fields(desk.request("retention", days=arguments.days), RetentionAnswer)
    if arguments.days not in {None, told.days} or told.owner != desk.asker.owner:
        raise Unavailable("the archive did not take it", "try again later")
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(told)))
    elif told.days is None:
        print(f"{told.owner}: each clip as long as the speaker signed for it")
    else:
        print(f"{told.owner}: {told.days} days at most, and none longer than the speaker signed")
    return 0


def keys(arguments: argparse.Namespace, desk: Desk) -> int:
    """Say which keys count as hers, and which of them this identity holds.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    _show(desk.asker.fields(desk.request("keys"), KeysAnswer), arguments, desk)
    return 0


def new_key(arguments: argparse.Namespace, desk: Desk) -> int:
    """Put the key of another identity in place of the active one; both are proved here.

    Raises:
        ConfigError: the file holds no key, or several.
        EarmarkError: the archive says no, or does not answer.
    """
    path = Path(arguments.new_identity)
    found = read_identities(path)
    if len(found) != 1:
        raise ConfigError(
            f"{path} holds {len(found)} keys", "the new one alone: age-keygen -o new.key makes it"
        )
    (following,) = found
    request = desk.request("new-key", recipient=following.recipient)
    told = desk.asker.fields(request, KeysAnswer, following)
    if told.active != following.okey:
        raise Unavailable("the archive did not take the new key", "try again later")
    _show(told, arguments, desk)
    if not arguments.json:
        print(
            "the speakers seal to the new key once each was told; until then, and to open"
            " older clips, keep the old one"
        )
    return 0


def _show(told: KeysAnswer, arguments: argparse.Namespace, desk: Desk) -> None:
    held = {identity.okey for identity in desk.asker.identities}
    if arguments.json:
        print(json.dumps(msgspec.to_builtins(told) | {"held": sorted(held)}))
        return
    for okey, what in [(told.active, "active"), *((one, "retired") for one in told.retired)]:
        where = "in this identity" if okey in held else "not in this identity"
        print(f"{okey}  {what:<7}  {where}")
