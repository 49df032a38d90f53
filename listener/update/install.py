"""From one version to another, each step written down before it is taken.

::

    staging ─► switching ─► trial ─► (stayed)          or  ─► returning ─► (returned)

Cut off while staging, nothing has changed, and what was unpacked is removed. Cut off later, the
version before is put back: what has not proved itself must not be what is left after a power cut.
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
"""So long it is looked whether hear hears before the update."""
_MAKE_S: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Trial:
    """How a version is tried.

    Args:
        services: restart the program.
        options: of ``earmark monitor``, such as ``--home``.
        recording: sound that every version must be able to score.
        longest_s: hear must score within so many seconds.
        say: told of each step, in words for people.
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
    """Install a release and try it; put the version before back where it does not hear.

    Returns:
        What is noted in the end; ``failed`` where the version before is back.

    Raises:
        EarmarkError: it was refused before anything changed.
    """
    current = versions.current()
    manifest = package.unpack_release(path, trusted)
    package.check_allowed(manifest, versions, allow_downgrade=allow_downgrade)
    trial.say(f"{manifest.version} is signed and whole")
    versions.write_guard(current)
    noted = versions.write(versions.read().begin(manifest.version, current, manifest.summary))
    try:
        _stage(path, trusted, manifest, versions)
        program = versions.program(manifest.version)
        if (reported := health.version_of(program)) != manifest.version:
            raise EarmarkError(f"this release calls itself {reported} when it runs")  # noqa: TRY301 - undone below
        health.score_recording(program, trial.recording, trial.options)
    except BaseException as error:
        versions.clear_staged()
        versions.remove(manifest.version)
        _end(versions, noted.roll_back(_reason(error)))
        raise
    trial.say(f"{manifest.version} is beside {current}, and scores a recording")
    return _try(versions, trial, noted, manifest.version, current)


def roll_back(versions: Versions, trial: Trial) -> UpdateState:
    """Go back to the version before the last update, and look whether it hears.

    Raises:
        EarmarkError: there is none.
    """
    noted = versions.read()
    current = versions.current()
    previous = noted.previous
    if previous is None or previous == current or not versions.is_installed(previous):
        raise EarmarkError("there is no version to go back to", "an update keeps one, the last")
    versions.write_guard(current)
    began = versions.write(noted.begin(previous, current, "").advance("switching"))
    return _try(versions, trial, began, previous, current)


def recover(versions: Versions, services: Services | None) -> str | None:
    """End an update that was cut off.

    Args:
        versions: the folder.
        services: restarted where ``current`` changed; None where nothing runs yet.

    Returns:
        What was done, in words, or None where there was nothing to do.

    Raises:
        ConfigError: the journal is damaged.
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
    _end(versions, noted.roll_back("it was cut off"))
    if noted.phase == "staging":
        return f"{target} was not unpacked yet; {previous} runs on"
    return f"{target} had not proved itself; {previous} is back"


def _stage(
    path: Path, trusted: tuple[Ed25519PublicKey, ...], manifest: ReleaseManifest, versions: Versions
) -> None:
    versions.clear_staged()
    versions.remove(manifest.version)
    # Read once more, into a folder of ours: the file may have been changed since it was judged.
    if package.unpack_release(path, trusted, versions.staged) != manifest:
        raise EarmarkError("the release was changed while it was read")
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
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        raise EarmarkError(
            "the environment of this release cannot be made", said[-1] if said else ""
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("the environment of this release cannot be made") from error
    if not versions.is_installed(manifest.version):
        raise EarmarkError("the environment of this release is not whole")
    (target / MADE).write_text(f"{manifest.version}\n", "utf-8")
    versions.clear_staged()
    os.sync()  # all of it, before anything points to it


def _try(
    versions: Versions, trial: Trial, noted: UpdateState, target: str, previous: str
) -> UpdateState:
    before = health.watch_health(versions.program(previous), trial.options, BEFORE_S)
    with _interrupt_on_signals():
        try:
            versions.write(noted.advance("switching"))
            versions.switch_to(target)
            noted = versions.write(noted.advance("trial"))
            trial.say(f"{target} is in its place; hear has {trial.longest_s:g} s to score")
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
        trial.say("hear did not hear before, so nothing but the recording was tried")
        return
    found = health.watch_health(versions.program(target), trial.options, trial.longest_s)
    if found is Health.SILENT:
        raise EarmarkError(f"hear did not score within {trial.longest_s:g} s")
    trial.say(f"hear is of {target} now: {found.value}")


def _restore_previous(
    versions: Versions, trial: Trial, noted: UpdateState, previous: str, reason: str
) -> UpdateState:
    trial.say(f"{reason}; {previous} is put back")
    versions.write(noted.advance("returning"))
    versions.switch_to(previous)
    with contextlib.suppress(EarmarkError):  # said by the next line, whatever restarts say
        trial.services.restart()
    if noted.target is not None and version_key(noted.target) > version_key(previous):
        versions.remove(noted.target)
    return _end(versions, noted.roll_back(reason))


def _end(versions: Versions, noted: UpdateState) -> UpdateState:
    ended = versions.write(noted)
    versions.write_guard(None)
    return ended


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, EarmarkError) else "it was cut off"


@contextlib.contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    """Let a terminal that is closed, or a polite stop, put the version before back.

    A trial that nobody ends would leave a version that has not proved itself.
    """

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
