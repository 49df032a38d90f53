"""The verb ``owner``: whose clips may be made, and the proof that she can open them."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from listener import config
from listener.cli.main import Subcommands
from listener.envelope import keys
from listener.owner import challenge as riddle
from listener.owner.records import CHALLENGE_S, Owner
from listener.storage.home import Home

_ROUND: Final = """\
the whole round, for an owner whose short name is to be ada:

  1  on ada's own computer; ada.key stays there, and is backed up there
       age-keygen -o ada.key
       age-keygen -y ada.key                      prints her public key, age1...
  2  here
       earmark owner add ada --key age1...
       earmark owner challenge ada > challenge.txt
  3  on ada's computer: what this prints is her answer, good for 24 hours
       age -d -i ada.key challenge.txt
  4  here
       earmark owner confirm ada ANSWER

Where ada.key is on this computer, the riddle and its answer are one line:
       earmark owner challenge ada | age -d -i ada.key

Until step 4 no clip of hers is made or kept, so a key pasted wrongly does no harm.
Age comes with Debian (apt install age) and from https://age-encryption.org for the rest.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what follows ``earmark owner``."""
    actions = Subcommands(parser, epilog=_ROUND)
    add = actions.add("add", "note an owner and her public key; it counts once she confirms it")
    add.add_argument("name", metavar="NAME", help="short name: 1 to 32 of a-z, 0-9, hyphen")
    add.add_argument("--key", required=True, metavar="age1...", help="her public key")
    challenge = actions.add("challenge", "print a riddle for her secret key; the newest counts")
    challenge.add_argument("name", metavar="NAME", help="an owner who has not confirmed yet")
    challenge.add_argument(
        "--present",
        action="store_true",
        help="for a new key: ask for no proof of the one before; for whoever stands here",
    )
    following = actions.add("new-key", "note a key that follows; both have to be proved")
    following.add_argument("name", metavar="NAME", help="an active owner")
    following.add_argument("--key", required=True, metavar="age1...", help="her new public key")
    confirm = actions.add("confirm", "take her answer to the riddle; from then on she is active")
    confirm.add_argument("name", metavar="NAME", help="the owner who was challenged")
    confirm.add_argument(
        "answer", nargs="+", metavar="ANSWER", help="what age -d printed; two for a new key"
    )
    listing = actions.add("list", "show every owner and whether she is active")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    forget = actions.add("forget", "make and accept no clip of hers any more")
    forget.add_argument("name", metavar="NAME", help="the owner to forget")


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Do one action on the roster; return the exit code.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    actions: dict[str, _Action] = {
        "add": _add,
        "new-key": _new_key,
        "challenge": _challenge,
        "confirm": _confirm,
        "list": _list,
        "forget": _remove,
    }
    return actions[arguments.action](arguments, settings, Home(Path(settings.home)))


_Action = Callable[[argparse.Namespace, config.Config, Home], int]


def _add(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    roster = home.change_roster(lambda roster: roster.with_owner(name, arguments.key))
    owner = roster.known_owner(name)
    print(f"{name} has the key with the fingerprint {owner.okey}")
    if owner.active:
        print("she is active already")
    else:
        print("she is not active until she proves that she can open what is sealed to it:")
        print(f"  earmark owner challenge {name} | age -d -i {name}.key")
        print(f"  earmark owner confirm {name} ANSWER")
    return 0


def _new_key(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    roster = home.change_roster(lambda roster: roster.with_following(name, arguments.key))
    print(f"{name} keeps the key {roster.known_owner(name).okey} until both are proved:")
    print(f"  earmark owner challenge {name} > challenge.txt      two riddles, one for each key")
    print(f"  earmark owner confirm {name} ANSWER ANSWER")
    return 0


def _challenge(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    owner = home.roster().known_owner(name)
    recipients = [owner.following or owner.recipient]
    if owner.following is not None and not arguments.present:
        recipients = [owner.recipient, owner.following]
    riddles = [riddle.make_challenge(name, recipient) for recipient in recipients]
    answers = [answer for answer, _ in riddles]
    now_s = int(time.time())
    home.change_roster(lambda roster: roster.with_challenge(name, " ".join(answers), now_s))
    for _, text in riddles:
        print(text, end="", flush=True)
    which = (
        "the old key opens the first, the new one the second"
        if len(answers) > 1
        else (f"only {name}'s secret key opens this")
    )
    print(
        f"earmark: {which}, with age -d -i {name}.key;"
        f" the answer counts for {CHALLENGE_S // 3600} hours",
        file=sys.stderr,
    )
    return 0


def _confirm(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    now_s = int(time.time())
    home.change_roster(
        lambda roster: roster.with_confirmation(name, " ".join(arguments.answer), now_s)
    )
    print(f"{name} is active: clips may be sealed to her key from now on")
    return 0


def _list(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    owners = home.roster().owners
    if arguments.json:
        for owner in owners:
            told = {
                "owner": owner.name,
                "okey": owner.okey,
                "recipient": owner.recipient,
                "active": owner.active,
                "challenged": owner.challenge is not None,
                "retired": [keys.owner_id(one) for one in owner.retired],
            }
            print(json.dumps(told))
        return 0
    width = max((len(owner.name) for owner in owners), default=0)
    for owner in owners:
        print(f"{owner.name:<{width}}  {owner.okey}  {_state(owner)}")
    if not owners:
        print("no owners yet; earmark owner --help shows how one is added")
    return 0


def _remove(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    name: str = arguments.name
    home.change_roster(lambda roster: roster.without_owner(name))
    print(f"{name} is forgotten: no clip of hers is made or accepted any more")
    print("what the archive holds stays sealed to her key")
    if settings.attribution.keeper == name:
        print("she was this device's keeper: it makes no clips until it has another")
    return 0


def _state(owner: Owner) -> str:
    if owner.active:
        return "active"
    return "challenged" if owner.challenge else "not confirmed"
