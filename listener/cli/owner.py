"""``earmark owner``: the owners in a roster, and the proof that each can decrypt their clips."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from listener import config
from listener.cli import owner_key_arguments
from listener.cli.main import Subcommands, with_examples
from listener.envelope import keys
from listener.errors import UsageError
from listener.hear.owner_confirmation import OwnerConfirmation
from listener.owner.challenge import make_challenge
from listener.owner.records import CHALLENGE_S, Owner
from listener.storage.home import Home
from listener.storage.locations import VOICEPRINTS
from listener.voice.consent_table import ConsentTable
from listener.voice.presence import PresenceChallenge

_ROUND: Final = """\
to add an owner, here with the short name ada:

  1  on ada's computer; ada.key stays there, back it up
       earmark owner key make ada                 prints the public key, age1...
       or, without Earmark: age-keygen -o ada.key && age-keygen -y ada.key
  2  on this machine
       earmark owner add ada --key age1...
       earmark owner challenge ada > challenge.txt
  3  on ada's computer; prints the answer, which is valid for 24 hours: ada: and 24 letters
     and digits. Any other text is not an answer, and is not to be sent
       age -d -i ada.key challenge.txt
  4  on this machine
       earmark owner confirm ada ANSWER

In a household, the hub carries one file for all speakers instead of steps 2 to 4:
  on each speaker         earmark owner add ada --key age1...
  on the hub              earmark household add-owner ada --key age1... --bundle ada.bundle
  on ada's computer       earmark owner answer ada.bundle --identity ada.key
  on the hub              earmark household confirm-owner ada.answers

Until step 4 the owner is inactive: no clip is made or accepted for them. age is in Debian
(apt install age), and for other systems at https://age-encryption.org.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark owner``."""
    actions = Subcommands(
        parser,
        epilog=with_examples(
            _ROUND,
            "earmark owner list",
            "earmark owner add ada --key age1...",
            "earmark owner challenge ada | age -d -i ada.key",
        ),
    )
    add = actions.add(
        "add",
        "add an owner's public key (inactive until confirmed)",
        "earmark owner add ada --key age1...",
    )
    add.add_argument("name", metavar="NAME", help="short name: 1 to 32 of a-z, 0-9, hyphen")
    add.add_argument("--key", required=True, metavar="age1...", help="the owner's public key")
    challenge = actions.add(
        "challenge",
        "print a challenge to decrypt with the owner's secret key; replaces any earlier one",
        "earmark owner challenge ada > challenge.txt",
        "earmark owner challenge ada | age -d -i ada.key",
        "earmark owner challenge ada --present",
    )
    challenge.add_argument("name", metavar="NAME", help="an owner with a key to confirm")
    challenge.add_argument(
        "--present",
        action="store_true",
        help="for a new key, after the old one was lost: do not require proof of the old key;"
        " use it only when the owner is present",
    )
    following = actions.add(
        "new-key",
        "add a key that replaces an owner's key once both are confirmed",
        "earmark owner new-key ada --key age1...",
    )
    following.add_argument("name", metavar="NAME", help="an active owner")
    following.add_argument(
        "--key", required=True, metavar="age1...", help="the owner's new public key"
    )
    confirm = actions.add(
        "confirm",
        "verify the answer to the challenge, and activate the key",
        "earmark owner confirm ada ada:6f1c0c8fd4c1e95b",
    )
    confirm.add_argument("name", metavar="NAME", help="the owner who decrypted the challenge")
    confirm.add_argument(
        "answer",
        nargs="+",
        metavar="ANSWER",
        help="output of age -d; two answers for a new key, the old key's first",
    )
    answer = actions.add(
        "answer",
        "on the owner's computer: answer the challenges in a bundle of the household",
        "earmark owner answer ada.bundle --identity ada.key",
        "earmark owner answer ada.bundle --identity ada.key --to -",
    )
    answer.add_argument(
        "bundle",
        metavar="BUNDLE",
        help="file that earmark household add-owner --bundle wrote (- for standard input)",
    )
    answer.add_argument(
        "--identity", required=True, metavar="FILE", help="your secret key, made by age-keygen"
    )
    answer.add_argument(
        "--to",
        metavar="FILE",
        help="file for the answers, - for standard output (default: NAME.answers)",
    )
    listing = actions.add(
        "list",
        "list owners, fingerprints of their keys, and their state",
        "earmark owner list",
        "earmark owner list --json",
    )
    voice = actions.add(
        "voice",
        "at a speaker: allow or end voice control of an owner, without the archive",
        "earmark owner voice off ada",
        "earmark owner voice on ada --assist ed25519:... > challenge.txt",
        "earmark owner voice on ada --assist ed25519:... --answer ANSWER",
    )
    voice.add_argument(
        "state",
        choices=("on", "off"),
        help="off: at once, without a proof; on: prints a challenge for the owner, and with"
        " --answer allows it",
    )
    voice.add_argument("name", metavar="NAME", help="an owner; for on, an active one")
    voice.add_argument(
        "--assist",
        metavar="ed25519:...",
        help="for on: public key of the assist service, as the hub's own screen shows it",
    )
    voice.add_argument(
        "--answer", metavar="ANSWER", help="for on: output of age -d, with the owner's active key"
    )
    # Not by the modules that carry them out, which load numpy and onnxruntime.
    enrol = actions.add(
        "enrol",
        "at a speaker: make the voiceprint of an owner, for attribution by voice",
        "earmark owner enrol ada",
        "earmark owner enrol ada --files one.wav two.wav three.wav --consent",
    )
    enrol.add_argument("name", metavar="NAME", help="an active owner, who is present and agrees")
    enrol.add_argument(
        "--files",
        nargs="+",
        metavar="FILE",
        help="recordings of the owner's voice alone, instead of the microphone: at least five"
        " stretches of 3 s of speech",
    )
    enrol.add_argument(
        "--consent",
        action="store_true",
        help="the owner has read the text about voiceprints and agrees: do not ask",
    )
    voiceprint = actions.add(
        "voiceprint",
        "at a speaker: list, export, import and erase voiceprints",
        "earmark owner voiceprint list",
        "earmark owner voiceprint export ada > ada.voiceprint",
        "earmark owner voiceprint import ada",
        "earmark owner voiceprint erase ada",
    )
    voiceprint.add_argument(
        "what",
        choices=("list", "export", "import", "erase"),
        help="list: the voiceprints of this speaker; export: print one, sealed to its owner's key;"
        " import: store one that its owner decrypted, from standard input; erase: overwrite and"
        " remove one, and print a receipt",
    )
    voiceprint.add_argument(
        "name", metavar="NAME", nargs="?", help="the owner; for all of them but list"
    )
    for action in (enrol, voiceprint):
        action.add_argument("--json", action="store_true", help="print one JSON object a line")
    key = actions.add(
        "key",
        "on the owner's computer: make a key with its copies, restore it, check a recovery sheet",
        "earmark owner key make ada",
        "earmark owner key update ada.key",
        "earmark owner key check",
        "earmark owner key check ada-recovery.html",
        "earmark owner key restore --owner ada",
    )
    owner_key_arguments.add_arguments(key)
    forget = actions.add(
        "forget",
        "remove an owner and their voiceprint; no more clips are made or accepted for them",
        "earmark owner forget ada",
    )
    forget.add_argument("name", metavar="NAME", help="the owner to remove")
    for action in (add, challenge, following, confirm, answer, listing, voice, key, forget):
        action.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: config.Config) -> int:
    """Run one action on the roster and return the exit code.

    Raises:
        EarmarkError: for anything foreseeable.
    """
    actions: dict[str, _Action] = {
        "add": _add,
        "new-key": _new_key,
        "challenge": _challenge,
        "confirm": _confirm,
        "answer": _answer,
        "list": _list,
        "voice": _voice,
        "enrol": _enrol,
        "voiceprint": _voiceprint,
        "key": _key,
        "forget": _remove,
    }
    return actions[arguments.action](arguments, settings, Home(Path(settings.home)))


_Action = Callable[[argparse.Namespace, config.Config, Home], int]


def _add(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    name: str = arguments.name
    roster = home.change_roster(lambda roster: roster.with_owner(name, arguments.key))
    owner = roster.known_owner(name)
    is_carried = _state_owners(settings, home)
    if arguments.json:
        print(_as_json(owner))
        return 0
    print(f"added a key of {name} with the fingerprint {owner.okey}")
    if owner.active:
        print(f"{name} is active already")
    else:
        print(f"{name} is inactive until they confirm that they hold the secret key:")
        if is_carried:
            print("on the archive's computer, once for all speakers:")
            print(f"  earmark household add-owner {name} --bundle {name}.bundle")
            print("or here:")
        print(f"  earmark owner challenge {name} | age -d -i {name}.key")
        print(f"  earmark owner confirm {name} ANSWER")
    return 0


def _state_owners(settings: config.Config, home: Home) -> bool:
    """At a speaker of a household, state its owners to it; return whether this is one."""
    if not home.is_speaker() or settings.broker.certificate_file is None:
        return False
    key = home.device_key()
    OwnerConfirmation(home, settings.device.name, key, is_member=True).update()
    return True


def _as_json(owner: Owner) -> str:
    return json.dumps(_as_row(owner))


def _as_row(owner: Owner) -> dict[str, Any]:
    return {
        "owner": owner.name,
        "okey": owner.okey,
        "recipient": owner.recipient,
        "active": owner.active,
        "challenged": owner.challenge is not None,
        "retired": [keys.owner_id(key) for key in owner.retired],
    }


def _new_key(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    roster = home.change_roster(lambda roster: roster.with_following(name, arguments.key))
    owner = roster.known_owner(name)
    if arguments.json:
        print(json.dumps(_as_row(owner) | {"following": owner.following}))
        return 0
    print(f"the key {owner.okey} stays active until both keys are confirmed:")
    print(f"  earmark owner challenge {name} > challenge.txt      two challenges, one for each key")
    print(f"  earmark owner confirm {name} ANSWER ANSWER")
    return 0


def _challenge(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    name: str = arguments.name
    owner = home.roster().known_owner(name)
    recipients = [owner.following or owner.recipient]
    if owner.following is not None and not arguments.present:
        recipients = [owner.recipient, owner.following]
    challenges = [make_challenge(name, recipient) for recipient in recipients]
    answers = [answer for answer, _ in challenges]
    now_s = int(time.time())
    home.change_roster(lambda roster: roster.with_challenge(name, " ".join(answers), now_s))
    if arguments.json:
        texts = [text for _, text in challenges]
        row = {"owner": name, "challenges": texts, "expires_s": now_s + CHALLENGE_S}
        print(json.dumps(row))
        return 0
    for _, text in challenges:
        print(text, end="", flush=True)
    instruction = (
        "decrypt the first with the old key and the second with the new one"
        if len(answers) > 1
        else f"decrypt this with {name}'s secret key"
    )
    print(
        f"earmark: {instruction}: age -d -i {name}.key;"
        f" the answer is valid for {CHALLENGE_S // 3600} hours",
        file=sys.stderr,
    )
    return 0


def _confirm(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    name: str = arguments.name
    now_s = int(time.time())
    roster = home.change_roster(
        lambda roster: roster.with_confirmation(name, " ".join(arguments.answer), now_s)
    )
    _state_owners(settings, home)
    if arguments.json:
        print(_as_json(roster.known_owner(name)))
        return 0
    print(f"{name} is active: clips are encrypted to this key from now on")
    return 0


def _answer(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    from listener.cli.owner_answer import answer_bundle  # noqa: PLC0415 - loads numpy

    return answer_bundle(arguments, settings, home)


def _key(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del home
    return owner_key_arguments.run(arguments, settings)


def _list(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    del settings
    owners = home.roster().owners
    if arguments.json:
        for owner in owners:
            print(_as_json(owner))
        return 0
    width = max((len(owner.name) for owner in owners), default=0)
    for owner in owners:
        print(f"{owner.name:<{width}}  {owner.okey}  {_state(owner)}")
    if not owners:
        print("no owners; to add one, see earmark owner --help")
    return 0


def _voice(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    name: str = arguments.name
    if not home.is_speaker():
        raise UsageError(
            f"{home.path} is not the data directory of a speaker",
            "run this on the speaker, or give the consent there by the archive:"
            " earmark clips voice",
        )
    if arguments.state == "off":
        if all(one.owner != name for one in home.consents().kept):
            home.roster().known_owner(name)
        _end_voice(name, home)
        if arguments.json:
            print(json.dumps({"owner": name, "voice": "off", "assist": None}))
            return 0
        print(f"voice control of {name} is off at this speaker")
        print("a later consent of the owner switches it on again: earmark clips voice on")
        return 0
    if arguments.assist is None:
        raise UsageError(
            "on needs the assist service that may receive the commands",
            "read the key off the hub's own screen, and pass --assist ed25519:…",
        )
    owner = home.roster().known_owner(name)
    if not owner.active:
        raise UsageError(
            f"{name} has not confirmed their key", f"run earmark owner challenge {name}"
        )
    return _allow_voice(arguments, settings, home, owner)


def _allow_voice(
    arguments: argparse.Namespace, settings: config.Config, home: Home, owner: Owner
) -> int:
    assist = keys.device_text(keys.parse_device(arguments.assist))
    key, now_s = home.device_key(), int(time.time())

    def challenge(table: ConsentTable) -> PresenceChallenge:
        last_n = max((one.n for one in table.kept if one.owner == owner.name), default=0)
        return PresenceChallenge(owner, settings.device.name, key, assist, last_n)

    if arguments.answer is None:
        text = challenge(home.consents()).encrypt(now_s)
        if arguments.json:
            row = {"owner": owner.name, "challenges": [text], "expires_s": now_s + CHALLENGE_S}
            print(json.dumps(row | {"assist": assist}))
            return 0
        print(text, end="", flush=True)
        print(
            "earmark: compare the fingerprint of the assist's key with the hub's own screen:"
            f" {keys.device_id(keys.parse_device(assist))}; then decrypt this with {owner.name}'s"
            f" secret key: age -d -i {owner.name}.key; and pass what it prints with --answer,"
            f" within {CHALLENGE_S // 3600} hours",
            file=sys.stderr,
        )
        return 0

    def edit(table: ConsentTable) -> ConsentTable:
        challenge(table).check(arguments.answer, now_s)
        return table.stated_at_speaker(owner, home.roster(), on=True, assist=assist, now_s=now_s)

    home.change_consents(edit)
    if arguments.json:
        print(json.dumps({"owner": owner.name, "voice": "on", "assist": assist}))
        return 0
    print(f"voice control of {owner.name} is on at this speaker, for the assist {assist}")
    if settings.attribution.keeper not in {None, owner.name}:
        print(
            f"it counts if the keeper, {settings.attribution.keeper}, has named the same assist:"
            " the keeper chooses which assist their speaker asks"
        )
    return 0


def _enrol(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    from listener.cli.owner_enrol import enrol  # noqa: PLC0415 - loads numpy and onnxruntime

    return enrol(arguments, settings, home)


def _voiceprint(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    from listener.cli.owner_voiceprint import manage_voiceprints  # noqa: PLC0415 - loads onnxruntime

    return manage_voiceprints(arguments, settings, home)


def _erase_voiceprint(name: str, home: Home) -> str | None:
    if not (home.path / VOICEPRINTS).is_dir():
        return None
    from listener.cli.owner_voiceprint import erase_voiceprint  # noqa: PLC0415 - loads onnxruntime

    return erase_voiceprint(name, home)


def _end_voice(name: str, home: Home) -> None:
    """Withdraw every consent of an owner at this speaker; the owner need not be known any more."""
    roster = home.roster()
    own = keys.device_text(home.device_key().public_key())

    def edit(table: ConsentTable) -> ConsentTable:
        owner = roster.owner(name)
        if owner is None:
            return table.withdrawn(name, int(time.time()))
        # Without an assist of before, the speaker's own key, which no assist service has.
        return table.stated_at_speaker(owner, roster, on=False, assist=own, now_s=int(time.time()))

    home.change_consents(edit)


def _remove(arguments: argparse.Namespace, settings: config.Config, home: Home) -> int:
    name: str = arguments.name
    home.roster().known_owner(name)
    receipt = None
    if home.is_speaker():
        _end_voice(name, home)  # first: if they return with the same key, it stays off
        receipt = _erase_voiceprint(name, home)
    home.change_roster(lambda roster: roster.without_owner(name))
    _state_owners(settings, home)
    if arguments.json:
        print(json.dumps({"owner": name, "removed": True}))
        return 0
    print(f"removed {name}: no more clips are made or accepted for them")
    print("stored clips stay in the archive, encrypted to their key")
    if receipt is not None:
        print(f"erased the voiceprint of {name}; the receipt, signed by this speaker:")
        print(receipt)
    if settings.attribution.keeper == name:
        print(
            f"{name} was the keeper of this device: set attribution.keeper to another owner,"
            " until then hear does not start"
        )
    return 0


def _state(owner: Owner) -> str:
    if owner.active:
        return "active"
    return "challenged" if owner.challenge else "not confirmed"
