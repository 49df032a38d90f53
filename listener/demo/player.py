"""Player: runs ``earmark hear`` on the scene and passes on its events."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from listener.demo.households import end_child
from listener.errors import EarmarkError, Unavailable

Event = dict[str, Any]
"""Event of ``earmark hear --json``."""

_TURN_S: Final = 0.1
_END_S: Final = 20.0


def play_scene(
    words: Sequence[str],
    longest_s: float,
    log: Path,
    *,
    on_event: Callable[[Event], None],
    on_moment: Callable[[float], None],
) -> list[Event]:
    """Run hear to its end.

    Args:
        words: its command line, with ``--json``.
        longest_s: timeout in seconds.
        log: file for its standard error.
        on_event: called with each event, as it arrives.
        on_moment: called about 10 times a second with the seconds since hear's start.

    Returns:
        All events.

    Raises:
        Unavailable: hear does not end in time.
        EarmarkError: hear fails, or prints something else than events.
    """
    events: list[Event] = []
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with log.open("wb") as errors:
        child = subprocess.Popen(  # noqa: S603 - this program, as Homes.words spells it
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    assert child.stdout is not None  # noqa: S101 - tells mypy what PIPE means
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    reader.start()
    try:
        until_s = time.monotonic() + longest_s
        began_s: float | None = None
        while True:
            if began_s is not None:
                on_moment(time.monotonic() - began_s)
            try:
                line = lines.get(timeout=_TURN_S)
            except queue.Empty:
                if time.monotonic() > until_s:
                    raise Unavailable(
                        f"earmark hear did not end within {longest_s:.0f} s",
                        f"see its messages in {log}",
                    ) from None
                continue
            if line is None:
                break
            event: Event = json.loads(line)
            if event["event"] == "started":
                began_s = time.monotonic()
            events.append(event)
            on_event(event)
        child.wait(min(_END_S, longest_s))
    except (ValueError, KeyError, TypeError) as error:
        raise EarmarkError("earmark hear printed an invalid event") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            "earmark hear did not end after its last event", f"see its messages in {log}"
        ) from error
    finally:
        end_child(child)
        reader.join()
        child.stdout.close()
    if child.returncode != 0:
        messages = log.read_text("utf-8", "replace").strip().splitlines() or ["no message"]
        raise EarmarkError(f"earmark hear ended with exit code {child.returncode}: {messages[0]}")
    return events


def _read(stream: IO[bytes], lines: "queue.SimpleQueue[bytes | None]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
