"""Whether a release belongs here: this machine, this Python, and nothing older than what ran."""

import platform
import sys

from listener.errors import EarmarkError
from listener.release.file import ReleaseManifest
from listener.release.versions import version_key
from listener.update.versions import Versions


def check_allowed(
    manifest: ReleaseManifest, versions: Versions, *, allow_downgrade: bool = False
) -> None:
    """Say whether a release may be installed here.

    Args:
        manifest: of a release whose signature holds.
        versions: what runs here, and what ran.
        allow_downgrade: take one that is older than what ran, too.

    Raises:
        EarmarkError: no; the message says why.
    """
    here = platform.machine()
    if manifest.machine != here:
        raise EarmarkError(f"this release is for {manifest.machine}, and this is {here}")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python not in manifest.pythons:
        raise EarmarkError(
            f"this release is for Python {', '.join(manifest.pythons)}, and this is {python}"
        )
    current = versions.current()
    if manifest.version == current:
        raise EarmarkError(f"{current} runs already")
    if version_key(current) < version_key(manifest.least):
        raise EarmarkError(
            f"{manifest.version} can follow {manifest.least} and newer, and this is {current}",
            f"install {manifest.least} first",
        )
    floor = max(current, versions.read().highest or current, key=version_key)
    if version_key(manifest.version) < version_key(floor) and not allow_downgrade:
        raise EarmarkError(
            f"{manifest.version} is older than {floor}, which ran here",
            "an old release may have holes that are known; --allow-downgrade takes it all the same",
        )
