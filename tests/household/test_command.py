"""The verb ``household`` as a whole."""

from collections.abc import Callable

Earmark = Callable[..., tuple[int, str, str]]


def test_help_teaches_the_round(ready: Earmark) -> None:
    code, out, _ = ready("household", "--help")

    assert code == 0
    for step in ("household init", "add-device kitchen", "household join", "reload mosquitto"):
        assert step in out
