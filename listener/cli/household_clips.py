"""Defaults of ``earmark clips`` that ``earmark household join`` writes on an owner's computer."""

import argparse
import sys
from pathlib import Path

from listener.clips.client import ArchiveClient
from listener.clips.http import HttpClient, https_address, parse_address
from listener.clips.remembered import RememberedClips, read_remembered, remember
from listener.clips.schema import ArchiveReply
from listener.errors import EarmarkError, UsageError
from listener.household import broker_config
from listener.household.identity import IdentityKind
from listener.household.invitation import Invitation
from listener.household.join_client import JoinResult
from listener.household.registry import ARCHIVE_PORT
from listener.storage.home import Home
from listener.storage.owner_files import read_identities


def check_identity_file(arguments: argparse.Namespace, invited: Invitation, home: Home) -> None:
    """Check what would be remembered, before the invitation is used.

    Raises:
        UsageError: ``--identity`` is given for a machine that is not an owner's.
        EarmarkError: the file is not of secret keys, or what was remembered is damaged.
    """
    if invited.identity.kind is not IdentityKind.OWNER:
        if arguments.identity is not None:
            raise UsageError(
                f"--identity is for an owner's computer, and this is {invited.cn}",
                "leave --identity out",
            )
        return
    read_remembered(home.path)
    if arguments.identity is not None:
        read_identities(Path(arguments.identity))


def remember_owner(
    arguments: argparse.Namespace, invited: Invitation, joined: JoinResult, home: Home
) -> RememberedClips:
    """Make owner, CA, identity and the archive's address the defaults of ``earmark clips``.

    The address is remembered if an archive answers at the usual port of the household's host, with
    the key in the invitation.

    Returns:
        What is remembered now.

    Raises:
        Unavailable: the file cannot be written.
    """
    ca = joined.folder / broker_config.CA
    identity = None if arguments.identity is None else str(Path(arguments.identity).absolute())
    saved = remember(
        home.path,
        RememberedClips(
            owner=joined.who.name,
            identity=identity,
            archive=_find_archive(invited, ca),
            ca=str(ca),
        ),
    )
    known = read_remembered(home.path)
    print(f"earmark: earmark clips uses owner {known.owner} from now on: {saved}", file=sys.stderr)
    missing = [
        option
        for option, value in (
            (f"--identity {known.owner}.key", known.identity),
            (f"--archive https://{invited.host}:PORT", known.archive),
        )
        if value is None
    ]
    if missing:
        print(
            f"earmark: once, pass: earmark clips list {' '.join(missing)} --remember",
            file=sys.stderr,
        )
    return known


def _find_archive(invited: Invitation, ca: Path) -> str | None:
    address = https_address(invited.host, ARCHIVE_PORT)
    client = ArchiveClient(HttpClient(parse_address(address, ca)), invited.identity.name, ())
    try:
        reply = client.get_archive(ArchiveReply)
    except EarmarkError:
        return None
    return address if reply.archive == invited.archive else None
