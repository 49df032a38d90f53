"""Fixtures that more than one folder of tests uses."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import coverage
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings

from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.seal import seal
from listener.household import state
from listener.owner.roster import Roster
from listener.storage.home import Home

RECORDINGS = "EARMARK_RECORDINGS"
ROOT = Path(__file__).resolve().parents[1]
NO_RECORDINGS = f"no real recordings: set {RECORDINGS} to their folder"


MEASURE = "COVERAGE_PROCESS_CONFIG"
"""Variable by which coverage measures the processes that a test starts."""
UNMEASURED = (
    "tests/adversary/",
    "tests/assist/test_timing_model_of_services.py",
    "tests/evaluate/survey/test_metrics.py",
    "tests/evaluate/test_plain_loop.py",
    "tests/firmware/test_deb.py",
    "tests/household/test_owner_round.py",
    "tests/page/",
    "tests/system/test_api_fuzz.py",
    "tests/system/test_assist.py",
    "tests/system/test_delivery.py",
    "tests/system/test_demo.py",
    "tests/system/test_enrolment.py",
    "tests/system/test_guides.py",
    "tests/system/test_household.py",
    "tests/system/test_owner_round.py",
    "tests/system/test_rights.py",
    "tests/system/test_soak.py",
    "tests/system/test_state.py",
    "tests/system/test_tutorial.py",
    "tests/system/test_voice_attribution.py",
    "tests/test_readme.py",
    "tests/train/test_training.py",
    "tests/update/test_install.py",
    "tests/voice/test_timing_model.py",
    "tests/wakeword/test_parity.py",
)
"""Tests of whole flows and of long calculations. Coverage takes a third of their time, and other
tests measure the same code."""
_measure = pytest.StashKey[str | None]()
_coverage = pytest.StashKey[coverage.Coverage | None]()
_is_paused = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_measure] = os.environ.get(MEASURE)
    config.stash[_coverage] = coverage.Coverage.current()
    # No test judges by the clock: on a busy machine any example may take long.
    settings.register_profile("untimed", settings(), deadline=None)
    # make unit draws fewer examples, where a test does not say how many it needs.
    settings.register_profile("quick", settings.get_profile("untimed"), max_examples=25)
    settings.load_profile("untimed")
    _restore_signals()
    _let_confined_processes_be_measured()


def _restore_signals() -> None:
    """Let the processes of tests be ended by signals, even if these tests run in the background.

    A shell starts what ends in & with both ignored, and each process inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def _let_confined_processes_be_measured() -> None:
    """Let hear's processes, whose files Landlock restricts, write their coverage data."""
    measured = coverage.Coverage.current()
    if measured is None:
        return
    folder = Path(str(measured.get_option("run:data_file"))).resolve().parent
    hook = str(ROOT / "tests" / "coverage_hook")
    os.environ["EARMARK_COVERAGE_FOLDER"] = str(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [hook, os.environ.get("PYTHONPATH")]))


LONG_S = 600
"""Timeout from which a test is a long one."""


@pytest.hookimpl(tryfirst=True)  # before fixtures of any scope start processes
def pytest_runtest_setup(item: pytest.Item) -> None:
    value = item.config.stash[_measure]
    is_measured = value is not None and not item.nodeid.startswith(UNMEASURED)
    if value is not None and is_measured:
        os.environ[MEASURE] = value
    else:
        os.environ.pop(MEASURE, None)
    _measure_this_process(item.config, is_measured=is_measured)


def _measure_this_process(config: pytest.Config, *, is_measured: bool) -> None:
    """Let coverage measure this process, or pause."""
    measured = config.stash[_coverage]  # paused, it is not the current one
    if measured is None or config.stash.get(_is_paused, False) != is_measured:
        return
    if is_measured:
        measured.start()
    else:
        measured.stop()
    config.stash[_is_paused] = not is_measured


@pytest.hookimpl(trylast=True)  # after the random order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give real processes, which a busy machine starts slowly, more time than the others.

    Long tests come first: the last of several workers would otherwise run one of them alone.
    """
    for item in items:
        if item.get_closest_marker("system") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(240))
    items.sort(key=lambda item: not _is_long(item))


def _is_long(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("timeout")
    return marker is not None and bool(marker.args) and marker.args[0] >= LONG_S


def _folder() -> Path | None:
    named = os.environ.get(RECORDINGS)
    folder = Path(named) if named else ROOT.parent / "shared" / "audio"
    return folder if (folder / "manifest.json").is_file() else None


@pytest.fixture(scope="session")
def recordings_folder() -> Path | None:
    return _folder()


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes that coverage does not measure, as those of `UNMEASURED`."""
    monkeypatch.delenv(MEASURE, raising=False)


@pytest.fixture
def recordings(recordings_folder: Path | None, unmeasured: None) -> Path:
    """The folder of real recordings with its manifest.json."""
    del unmeasured
    if recordings_folder is None:
        pytest.skip(NO_RECORDINGS)
    return recordings_folder


@dataclass(frozen=True, slots=True)
class DemoRun:
    """A demonstration that ran to its end without the speech model."""

    done: subprocess.CompletedProcess[str]
    folder: Path
    """Where it ran; it has ``demo-clips``, and in ``kept`` the data directories."""


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """One run for every test of what the demonstration prints and leaves; see ``scheduling``."""
    folder = tmp_path_factory.mktemp("demo")
    words = ("demo", "--fast", "--keep", "kept", "--home", str(folder / "empty"))
    done = subprocess.run(
        [sys.executable, "-m", "listener", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    return DemoRun(done, folder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty folder for one installation."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


PRIVATE_FIELDS = form.PrivateFields(
    word="alexa",
    model="0" * 64,
    score=0.93,
    spk=None,
    pre_ms=0,
    ms=250,
    rate=16_000,
    end_reason="silence",
    boot="0" * 16,
)


@dataclass(frozen=True, slots=True)
class Household:
    """A home whose roster knows the device hall and the owners ada and bob, and their keys."""

    home: Home
    device_key: Ed25519PrivateKey
    identities: dict[str, str]

    def header(self, seq: int, owner: str = "ada", **fields: object) -> form.PublicHeader:
        given: dict[str, Any] = {
            "clip": str(uuid.uuid4()),
            "device": "hall",
            "dkey": keys.device_id(self.device_key.public_key()),
            "owner": owner,
            "okey": keys.owner_id(self.recipient(owner)),
            "seq": seq,
            "t": form.format_timestamp(datetime.now(UTC)),
            "ttl_s": 86_400,
        }
        return form.PublicHeader(**(given | fields))

    def seal(
        self,
        header: form.PublicHeader,
        encode: Callable[[str], bytes] | None = None,
        key: Ed25519PrivateKey | None = None,
    ) -> bytes:
        """Seal random bytes in place of a FLAC; without the key they cannot be told apart."""
        noise = b"fLaC" + os.urandom(6000)
        return seal(
            header,
            PRIVATE_FIELDS,
            encode or (lambda comment: noise + comment.encode()),
            self.recipient(header.owner),
            key or self.device_key,
        )

    def recipient(self, owner: str) -> str:
        return str(pyrage.x25519.Identity.from_str(self.identities[owner]).to_public())


def introduced(roster: Roster, name: str, recipient: str, now_s: int) -> Roster:
    """The roster with an owner who has confirmed their key."""
    return (
        roster.with_owner(name, recipient)
        .with_challenge(name, "answer", now_s)
        .with_confirmation(name, "answer", now_s)
    )


@pytest.fixture
def household(home: Path) -> Household:
    """A household with one device and two active owners; nothing of it is ever the same twice."""
    found = Home(home)
    device_key = found.device_key()
    identities = {name: str(pyrage.x25519.Identity.generate()) for name in ("ada", "bob")}
    made = Household(found, device_key, identities)
    now_s = int(time.time())
    found.change_roster(
        lambda roster: roster.with_device("hall", keys.device_text(device_key.public_key()))
    )
    for name in identities:
        found.change_roster(
            partial(introduced, name=name, recipient=made.recipient(name), now_s=now_s)
        )
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was not proven."""
    # From the reports, since the tests may run in processes of their own.
    skipped: list[pytest.TestReport] = terminalreporter.stats.get("skipped", [])
    missing = sorted(each.nodeid for each in skipped if NO_RECORDINGS in str(each.longrepr))
    if missing:
        terminalreporter.section("NOT PROVEN HERE: real recordings are absent", red=True)
        for nodeid in missing:
            terminalreporter.line(nodeid)
        terminalreporter.line(f"set {RECORDINGS} to a folder of recordings with a manifest.json")


@pytest.fixture
def any_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept any clock as set; test_state.py tests that an unset clock is refused."""
    monkeypatch.setattr(state, "_EARLIEST", datetime.min.replace(tzinfo=UTC))
