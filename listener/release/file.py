"""The release file: a signed list of parts, then the parts.

::

    line 1  EARMARK-RELEASE/1
    line 2  manifest, canonical JSON
    line 3  base64 Ed25519 signature by a release key over lines 1 and 2, newlines included
    rest    the parts, concatenated in the manifest's order and sizes; nothing after them

The signature is verified before the manifest is parsed: until then line 2 is only searched for its
end.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from listener import strict_json
from listener.errors import BadRelease
from listener.release.versions import Summary, Version, version_key

MAGIC: Final = b"EARMARK-RELEASE/1\n"
MANIFEST_LIMIT_BYTES: Final = 256 << 10
SIGNATURE_BYTES: Final = 88
"""Length of the signature in base64."""
HEAD_LIMIT_BYTES: Final = len(MAGIC) + MANIFEST_LIMIT_BYTES + SIGNATURE_BYTES + 2
"""Upper limit of the first three lines."""
MAKER: Final = "make-environment"
"""Name of the part that builds an environment from the other parts."""

_PART_NAME: Final = (
    rf"^({MAKER}|wheels/[A-Za-z0-9][A-Za-z0-9._+-]{{0,199}}\.whl"
    r"|lock/[a-z0-9][a-z0-9._-]{0,63}\.txt)\Z"
)
_PART_NAME_PATTERN: Final = re.compile(_PART_NAME)
_AGAIN: Final = "download it again"

Python = Annotated[str, Meta(pattern=r"^3\.[1-9][0-9]?\Z")]
Machine = Literal["aarch64", "x86_64"]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file in a release."""

    name: Annotated[str, Meta(pattern=_PART_NAME)]
    bytes: Annotated[int, Meta(ge=1, le=1 << 30)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ReleaseManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed description of a release."""

    v: Literal[1] = 1
    version: Version
    least: Version
    """The oldest version that can be updated to this one."""
    machine: Machine
    pythons: Annotated[tuple[Python, ...], Meta(min_length=1, max_length=8)]
    summary: Summary = ""
    """Summary of the changes, one line."""
    parts: Annotated[tuple[Part, ...], Meta(min_length=1, max_length=500)]

    @property
    def total_bytes(self) -> int:
        """Total size of the parts, in bytes."""
        return sum(part.bytes for part in self.parts)


def is_valid_part_name(name: str) -> bool:
    """Return whether a part may have this name."""
    return _PART_NAME_PATTERN.match(name) is not None


def sign(manifest: ReleaseManifest, key: Ed25519PrivateKey) -> bytes:
    """Return the first three lines of the release file.

    Raises:
        BadRelease: the manifest contradicts itself.
    """
    line = msgspec.json.encode(manifest, order="sorted")
    signed = MAGIC + line + b"\n"
    head = signed + base64.b64encode(key.sign(signed)) + b"\n"
    parse(head, (key.public_key(),))
    return head


def parse(data: bytes, trusted: Iterable[Ed25519PublicKey]) -> tuple[ReleaseManifest, int]:
    """Parse and verify the first three lines of a release file.

    Args:
        data: the first ``HEAD_LIMIT_BYTES`` of the file, or all of a shorter one; any bytes are
            safe.
        trusted: public release keys.

    Returns:
        The manifest, and the offset of the parts in bytes.

    Raises:
        BadRelease: the bytes are not a release, or none of these keys signed it. Nothing else is
            raised.
    """
    if not data.startswith(MAGIC):
        raise BadRelease("this is not a release of Earmark")
    end = data.find(b"\n", len(MAGIC), len(MAGIC) + MANIFEST_LIMIT_BYTES + 1)
    start = end + 1 + SIGNATURE_BYTES + 1
    if end < 0 or len(data) < start or data[start - 1 : start] != b"\n":
        raise BadRelease("this release is truncated or damaged", _AGAIN)
    _check_signature(data[: end + 1], data[end + 1 : start - 1], trusted)
    try:
        manifest = strict_json.decode(data[len(MAGIC) : end], ReleaseManifest)
    except ValueError as error:
        raise BadRelease(
            "the manifest of this release is not one that this version can read",
            "install the versions in between first, oldest first",
        ) from error
    names = [part.name for part in manifest.parts]
    if len(set(names)) < len(names) or MAKER not in names:
        raise BadRelease("this release lists a part twice, or lacks a part")
    if version_key(manifest.least) > version_key(manifest.version):
        raise BadRelease("the oldest version that this release replaces is newer than itself")
    return manifest, start


def _check_signature(signed: bytes, signature: bytes, trusted: Iterable[Ed25519PublicKey]) -> None:
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRelease("this release is truncated or damaged", _AGAIN) from error
    for key in trusted:
        try:
            key.verify(raw, signed)
        except InvalidSignature:
            continue
        return
    raise BadRelease(
        "no pinned release key signed this release",
        "download it again; compare its key with update.keys",
    )
