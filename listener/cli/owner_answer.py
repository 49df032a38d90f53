"""``earmark owner answer``: answers a bundle of challenges on the owner's computer."""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

import pyrage

from listener.cli.input_file import read_input
from listener.clips.remembered import RememberedClips, remember, store_ca
from listener.clips.trust_store import TrustStore
from listener.config import Config
from listener.envelope import keys
from listener.envelope.open import Identity
from listener.errors import EarmarkError
from listener.mqtt.owner_statement import read_statement
from listener.owner.bundle import (
    LONGEST_BYTES,
    OwnerAnswers,
    OwnerBundle,
    PlaceAnswer,
    PlaceChallenge,
    encode,
    parse_bundle,
)
from listener.owner.possession import check_plaintext
from listener.owner.roster import ARCHIVE
from listener.storage.atomic import PUBLIC_MODE, write_atomic
from listener.storage.home import Home
from listener.storage.owner_files import read_identities

_SUFFIX: Final = ".answers"


def answer_bundle(arguments: argparse.Namespace, settings: Config, home: Home) -> int:
    """Decrypt each challenge in the bundle, check what it is for, and write the answers.

    Raises:
        EarmarkError: the bundle is not one, is for another key, or a challenge in it is for
            something else; no file of answers is written.
    """
    del settings
    bundle = parse_bundle(read_input(arguments.bundle, LONGEST_BYTES))
    path = Path(arguments.identity)
    secret = _identity(bundle, path)
    known = TrustStore(home.path)
    speakers = {one.place: one.key for one in bundle.challenges if one.place != ARCHIVE}
    known.check_devices(speakers)
    answers = tuple(
        PlaceAnswer(place=one.place, answer=_answer(one, bundle, secret))
        for one in bundle.challenges
    )
    ca = store_ca(home.path, known.folder, bundle.archive.ca)
    known.pin_archive(bundle.archive.key)
    # The first keys that this computer sees of the speakers, each with a statement that it signed.
    known.pin_devices(speakers)
    target = arguments.to or f"{bundle.owner}{_SUFFIX}"
    data = encode(OwnerAnswers(owner=bundle.owner, answers=answers))
    if target == "-":
        sys.stdout.write(data.decode("ascii"))
    else:
        write_atomic(Path(target), data, PUBLIC_MODE)
    saved = remember(
        home.path,
        RememberedClips(
            owner=bundle.owner,
            identity=str(path.absolute()),
            archive=bundle.archive.address,
            ca=str(ca),
        ),
    )
    _report(bundle, arguments, target, saved)
    return 0


def _answer(challenge: PlaceChallenge, bundle: OwnerBundle, secret: Identity) -> str:
    """Return the answer to one challenge.

    Raises:
        EarmarkError: the challenge is not signed by its place, or is not what the bundle says.
    """
    place = challenge.place
    if place == ARCHIVE and challenge.key != bundle.archive.key:
        raise EarmarkError("the bundle names two keys of the archive", "tell your household")
    stated = read_statement(
        challenge.statement.encode("ascii", "replace"), place, keys.parse_device(challenge.key)
    )
    if (
        stated is None
        or stated.challenge is None
        or (stated.owner, stated.recipient) != (bundle.owner, bundle.recipient)
    ):
        raise EarmarkError(
            f"the challenge of {place} is not signed by it, or is not for this owner and key",
            "ask your household for a new bundle",
        )
    try:
        plaintext: bytes = pyrage.decrypt(stated.challenge.encode("ascii"), [secret.secret])
    except (pyrage.DecryptError, ValueError) as error:
        raise EarmarkError(
            f"cannot decrypt the challenge of {place} with this identity",
            "ask your household for a new bundle",
        ) from error
    return check_plaintext(plaintext, bundle.owner, place, bundle.recipient)


def _identity(bundle: OwnerBundle, path: Path) -> Identity:
    for identity in read_identities(path):
        if identity.recipient == bundle.recipient:
            return identity
    raise EarmarkError(
        f"the bundle is for another key of {bundle.owner}: {bundle.recipient}",
        "pass the file with the secret key of this public key: --identity FILE",
    )


def _report(bundle: OwnerBundle, arguments: argparse.Namespace, target: str, saved: Path) -> None:
    out = sys.stderr if target == "-" else sys.stdout
    for one in bundle.challenges:
        dkey = keys.device_id(keys.parse_device(one.key))
        if arguments.json:
            print(json.dumps({"owner": bundle.owner, "place": one.place, "dkey": dkey}), file=out)
        else:
            print(f"{one.place}: answered; fingerprint of its key: {dkey}", file=out)
    if arguments.json:
        return
    if target != "-":
        print(f"wrote {target}; run on the archive's computer:", file=out)
        print(f"  earmark household confirm-owner {Path(target).name}", file=out)
    print(f"earmark clips uses this owner and archive from now on: {saved}", file=out)
