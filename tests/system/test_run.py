"""`earmark run`: hear and send as processes, with a real broker and archive."""

import contextlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from listener.config import SpoolSettings
from listener.spool.queue import Spool

if TYPE_CHECKING:
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("household")]

Wait = Callable[[Callable[[], object], str], None]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture
def settings(
    earmark: "Earmark",  # noqa: ARG001 - it has written the file
    tmp_path: Path,
) -> Callable[..., None]:
    """Write down whose clips are made from which recordings."""
    config = tmp_path / "earmark.toml"
    text = config.read_text("utf-8")

    def write(*names: str, keeper: str = "ada") -> None:
        files = json.dumps([str(FIXTURES / f"{name}.flac") for name in names])
        config.write_text(
            f'{text}attribution.keeper = "{keeper}"\nmicrophone.files = {files}\n', "utf-8"
        )

    return write


def archived(earmark: "Earmark") -> int:
    told = earmark.run("archive", "list", "--json")
    assert told.returncode == 0, told.stderr
    return len(told.stdout.splitlines())


def child(run: int, verb: str) -> psutil.Process | None:
    for process in psutil.Process(run).children():
        with contextlib.suppress(psutil.Error):  # it has ended since
            if verb in process.cmdline():
                return process
    return None


def test_recordings_end_in_the_archive(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    settings: Callable[..., None],
    home: Path,
) -> None:
    settings("alexa_command", "alexa_twice")
    mosquitto.start()
    earmark.start("archive")

    done = earmark.run("run", "--fast", "--json")

    heard = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert heard[0]["event"] == "started"
    assert heard[-1]["sealed"] == 3
    assert archived(earmark) == 3
    assert not Spool(home / "spool", SpoolSettings()).waiting()


def test_killed_send_is_restarted(
    mosquitto: "Mosquitto", earmark: "Earmark", settings: Callable[..., None], wait_until: Wait
) -> None:
    settings("alexa_command")
    mosquitto.start()
    earmark.start("archive")
    run = earmark.start("run")
    wait_until(lambda: child(run.pid, "send"), "send runs")
    first = child(run.pid, "send")
    assert first is not None

    first.kill()

    assert run.wait(40) == 0
    assert "send exited with 137; restarting in 0.5 s" in earmark.said("run")
    assert archived(earmark) == 1


def test_sigterm_leaves_no_process_behind(
    mosquitto: "Mosquitto", earmark: "Earmark", settings: Callable[..., None], wait_until: Wait
) -> None:
    settings("talk")
    mosquitto.start()
    run = earmark.start("run", "--json")
    wait_until(lambda: "started" in earmark.said("run"), "hear listens")
    children = psutil.Process(run.pid).children()

    code = earmark.kill("run", signal.SIGTERM)

    assert code == 0
    assert len(children) == 2
    assert not any(process.is_running() for process in children)
    assert json.loads(earmark.said("run").splitlines()[-1])["event"] == "ended"


def test_wrong_configuration_ends_run_at_once(
    earmark: "Earmark", settings: Callable[..., None]
) -> None:
    settings("alexa_command", keeper="nobody")

    done = earmark.run("run", "--fast")

    assert done.returncode == 78
    assert "the keeper 'nobody' is not in the roster" in done.stderr
    assert "again in" not in done.stderr


def test_run_without_a_broker_reports_waiting_clips(
    earmark: "Earmark", settings: Callable[..., None], home: Path
) -> None:
    settings("alexa_command")

    done = earmark.run("run", "--fast", "--linger", "0.5")

    assert done.returncode == 69
    assert "1 sealed clip waits in the spool" in done.stderr
    assert "earmark send --once" in done.stderr
    assert len(Spool(home / "spool", SpoolSettings()).waiting()) == 1
