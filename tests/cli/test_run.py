import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from listener.cli.run import RunTimeouts, Supervisor
from listener.errors import Unavailable
from listener.system.systemd import StopSignal

pytestmark = pytest.mark.system  # real processes

FOREVER = "import time; time.sleep(60)"


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", code]


def pair(
    hear: str,
    send: str = FOREVER,
    waiting: Callable[[], int] = lambda: 0,
    linger_s: float = 30.0,
    grace_s: float = 10.0,
    play: str | None = None,
) -> Supervisor:
    return Supervisor(
        hear=python(hear),
        send=python(send),
        play=None if play is None else python(play),
        waiting=waiting,
        timeouts=RunTimeouts(linger_s=linger_s, first_backoff_s=0.01, grace_s=grace_s),
    )


@pytest.mark.parametrize("code", [0, 1, 69, 78])
def test_exit_code_of_hear_is_returned(code: int) -> None:
    assert pair(f"raise SystemExit({code})").run(StopSignal()) == code


def test_killed_hear_gives_128_plus_the_signal() -> None:
    ended = pair("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").run(StopSignal())

    assert ended == 128 + signal.SIGKILL


@pytest.mark.parametrize("code", [2, 78])
def test_permanent_failure_of_send_ends_the_run(code: int) -> None:
    assert pair(FOREVER, f"raise SystemExit({code})").run(StopSignal()) == code


def test_send_is_restarted_after_it_exits(tmp_path: Path) -> None:
    births = tmp_path / "births"
    send = f"open({str(births)!r}, 'a').write('x'); raise SystemExit(69)"

    # Hear ends when send was born three times, and the drain needs a fourth.
    hear = (
        "import os, time\n"
        f"while not os.path.exists({str(births)!r}) or os.path.getsize({str(births)!r}) < 3:\n"
        "    time.sleep(0.02)"
    )
    ended = pair(hear, send, waiting=lambda: int(births.stat().st_size < 4)).run(StopSignal())

    assert ended == 0
    assert births.stat().st_size >= 4


def test_play_is_restarted_after_it_exits(tmp_path: Path) -> None:
    births = tmp_path / "births"
    play = f"open({str(births)!r}, 'a').write('x'); raise SystemExit(69)"
    hear = (
        "import os, time\n"
        f"while not os.path.exists({str(births)!r}) or os.path.getsize({str(births)!r}) < 3:\n"
        "    time.sleep(0.02)"
    )

    assert pair(hear, play=play).run(StopSignal()) == 0


@pytest.mark.parametrize("code", [2, 78])
def test_permanent_failure_of_play_ends_nothing(tmp_path: Path, code: int) -> None:
    births = tmp_path / "births"
    play = f"open({str(births)!r}, 'a').write('x'); raise SystemExit({code})"
    hear = (
        "import os, time\n"
        f"while not os.path.exists({str(births)!r}): time.sleep(0.02)\n"
        "time.sleep(1); raise SystemExit(5)"
    )

    assert pair(hear, play=play).run(StopSignal()) == 5
    assert births.read_text() == "x", "it is not started again"


def test_run_waits_until_the_spool_is_empty() -> None:
    counts = iter([2, 1, 0])

    ended = pair("pass", waiting=lambda: next(counts)).run(StopSignal())

    assert ended == 0
    assert next(counts, None) is None


def test_clips_left_in_the_spool_are_reported() -> None:
    with pytest.raises(Unavailable, match="3 sealed clips wait") as caught:
        pair("pass", waiting=lambda: 3, linger_s=0.0).run(StopSignal())

    assert "earmark send --once" in caught.value.hint


def test_permanent_failure_of_send_ends_the_wait() -> None:
    waits = threading.Event()

    def waiting() -> int:
        waits.set()
        return 1

    send = "import sys; sys.stdin.read(); import time; time.sleep(0.5); raise SystemExit(78)"

    assert pair("pass", send, waiting=waiting).run(StopSignal()) == 78
    assert waits.is_set()


def test_stop_ends_both_children(tmp_path: Path) -> None:
    stop = StopSignal()
    marks = [tmp_path / "hear", tmp_path / "send"]
    code = (
        "import signal, sys, time\n"
        "def leave(*_):\n    open({0!r} + '.left', 'w').close(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "open({0!r}, 'w').close()\n"
        "time.sleep(60)"
    )

    def ask_once_both_run() -> None:
        while not all(mark.exists() for mark in marks):
            if stop.wait(0.02):
                return
        stop.request()

    asker = threading.Thread(target=ask_once_both_run)
    asker.start()
    ended = pair(code.format(str(marks[0])), code.format(str(marks[1]))).run(stop)
    asker.join()

    assert ended == 0
    assert all(mark.with_suffix(".left").exists() for mark in marks)


def test_child_that_ignores_sigterm_is_killed() -> None:
    stop = StopSignal()
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    timer = threading.Timer(0.5, stop.request)
    timer.start()

    ended = pair(deaf, deaf, grace_s=0.1).run(stop)

    timer.join()
    assert ended == 0
