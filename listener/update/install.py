"""Installation of a release as a state machine; each step is recorded before it is taken.

::

    staging ─► switching ─► trial ─► (stayed)          or  ─► returning ─► (returned)

If it is interrupted while staging, nothing has changed, and the unpacked files are removed. Later,
the previous version is restored: a version that has not passed its trial must not remain after a
power cut.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.errors import EarmarkError, Unavailable
from listener.release import file
from listener.release.file import ReleaseManifest
from listener.release.state import UpdateState
from listener.release.versions import version_key
from listener.update import health, package
from listener.update.health import Health, Services
from listener.update.versions import MADE, Versions

BEFORE_S: Final = 20.0
"""Seconds for which hear is watched before the switch."""
_MAKE_S: Final = 1800.0
_INTERRUPTED: Final = "it was interrupted"


@dataclass(frozen=True, slots=True)
class Trial:
    """Parameters of the trial of a version.

    Args:
        services: restarted with the new version.
        options: for ``earmark monitor``, such as ``--home``.
        recording: audio that every version has to score.
        longest_s: seconds within which hear has to score audio.
        say: called with a message at each step.
    """

    services: Services
    options: tuple[str, ...]
    recording: Path
    longest_s: float
    say: Callable[[str], None]


def install(
    path: Path,
    trusted: tuple[Ed25519PublicKey, ...],
    versions: Versions,
    trial: Trial,
    *,
    allow_downgrade: bool = False,
) -> UpdateState:
    """Install a release and try it; restore the previous version if the trial fails.

    Args:
        path: of the release file.
        trusted: the release keys.
        versions: the folder of versions.
        trial: parameters of the trial.
        allow_downgrade: also install a version that is older than one that ran.

    Returns:
        The final state; ``failed`` is set if the previous version was restored.

    Raises:
        EarmarkError: the release is refused; nothing has changed.
    """
    current = versions.current()
    manifest = package.unpack_release(path, trusted)
    package.check_allowed(manifest, versions, allow_downgrade=allow_downgrade)
    trial.say(f"{manifest.version} is complete, and its signature is valid")
    versions.write_guard(current)
    noted = versions.write(versions.read().begin(manifest.version, current, manifest.summary))
    try:
        _stage(path, trusted, manifest, versions)
        program = versions.program(manifest.version)
        if (reported := health.version_of(program)) != manifest.version:
            raise EarmarkError(  # noqa: TRY301 - undone below
                f"version mismatch: the manifest says {manifest.version}, the program reports"
                f" {reported}"
            )
        health.score_recording(program, trial.recording, trial.options)
    except BaseException as error:
        versions.clear_staged()
        versions.remove(manifest.version)
        _end(versions, noted.roll_back(_reason(error)))
        raise
    trial.say(f"{manifest.version} is installed beside {current}, and scores a recording")
    return _try(versions, trial, noted, manifest.version, current)


def roll_back(versions: Versions, trial: Trial) -> UpdateState:
    """Switch to the version before the last update, and try it.

    Returns:
        The final state, as of `install`.

    Raises:
        EarmarkError: there is no such version.
    """
    noted = versions.read()
    current = versions.current()
    previous = noted.previous
    if previous is None or previous == current or not versions.is_installed(previous):
        raise EarmarkError(
            "there is no version to go back to",
            "install one: earmark update install FILE --allow-downgrade",
        )
    versions.write_guard(current)
    began = versions.write(noted.begin(previous, current, "").advance("switching"))
    return _try(versions, trial, began, previous, current)


def recover(versions: Versions, services: Services | None) -> str | None:
    """End an interrupted update by restoring the previous version.

    Args:
        versions: the folder of versions.
        services: restarted if ``current`` changed; None while they do not run yet.

    Returns:
        A message of what was done, or None if no update was interrupted.

    Raises:
        ConfigError: the recorded state is damaged.
    """
    noted = versions.read()
    target, previous = noted.target, noted.previous
    if not noted.is_in_progress or target is None or previous is None:
        versions.write_guard(None)
        return None
    versions.clear_staged()
    if noted.phase != "staging":
        versions.switch_to(previous)
        if services is not None:
            services.restart()
    if noted.phase == "staging" or version_key(target) > version_key(previous):
        versions.remove(target)
    _end(versions, noted.roll_back(_INTERRUPTED))
    if noted.phase == "staging":
        return f"{target} was not unpacked completely; {previous} still runs"
    return f"{target} had not passed its trial; {previous} was restored"


def _stage(
    path: Path, trusted: tuple[Ed25519PublicKey, ...], manifest: ReleaseManifest, versions: Versions
) -> None:
    versions.clear_staged()
    versions.remove(manifest.version)
    # Read again, into a private folder: the file may have changed since it was verified.
    if package.unpack_release(path, trusted, versions.staged) != manifest:
        raise EarmarkError("the release file changed while it was read")
    target = versions.folder / manifest.version
    try:
        subprocess.run(  # noqa: S603 - of a release that was signed
            [str(versions.staged / file.MAKER), str(versions.staged), str(target)],
            check=True,
            timeout=_MAKE_S,
            capture_output=True,
            cwd=versions.folder,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise EarmarkError(
            "the environment of this release could not be made", lines[-1] if lines else ""
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("the environment of this release could not be made") from error
    if not versions.is_installed(manifest.version):
        raise EarmarkError("the environment of this release is incomplete")
    (target / MADE).write_text(f"{manifest.version}\n", "utf-8")
    versions.clear_staged()
    os.sync()  # before a link points to it


def _try(
    versions: Versions, trial: Trial, noted: UpdateState, target: str, previous: str
) -> UpdateState:
    before = health.watch_health(versions.program(previous), trial.options, BEFORE_S)
    with _interrupt_on_signals():
        try:
            versions.write(noted.advance("switching"))
            versions.switch_to(target)
            noted = versions.write(noted.advance("trial"))
            trial.say(f"{target} is the current version; hear has {trial.longest_s:g} s to score")
            _require_healthy(versions, trial, target, before)
        except (EarmarkError, KeyboardInterrupt) as error:
            return _restore_previous(versions, trial, noted, previous, _reason(error))
    highest = max(target, noted.highest or previous, previous, key=version_key)
    ended = _end(versions, noted.confirm(highest))
    versions.prune({target, previous})
    return ended


def _require_healthy(versions: Versions, trial: Trial, target: str, before: Health) -> None:
    trial.services.restart()
    if before is Health.SILENT:
        trial.say("hear did not score before the update, so only the recording was tried")
        return
    after = health.watch_health(versions.program(target), trial.options, trial.longest_s)
    if after is Health.SILENT:
        raise EarmarkError(f"hear did not score within {trial.longest_s:g} s")
    trial.say(f"hear runs {target}: {after.value}")


def _restore_previous(
    versions: Versions, trial: Trial, noted: UpdateState, previous: str, reason: str
) -> UpdateState:
    trial.say(f"{reason}; {previous} is being restored")
    versions.write(noted.advance("returning"))
    versions.switch_to(previous)
    with contextlib.suppress(EarmarkError):  # the failure of the trial is reported, not this one
        trial.services.restart()
    if noted.target is not None and version_key(noted.target) > version_key(previous):
        versions.remove(noted.target)
    return _end(versions, noted.roll_back(reason))


def _end(versions: Versions, noted: UpdateState) -> UpdateState:
    ended = versions.write(noted)
    versions.write_guard(None)
    return ended


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, EarmarkError) else _INTERRUPTED


@contextlib.contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    """Turn SIGHUP and SIGTERM into KeyboardInterrupt while the block runs.

    Otherwise a closed terminal would leave a version that has not passed its trial.
    """

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
