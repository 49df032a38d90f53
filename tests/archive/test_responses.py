"""What is sent back, also when it is a no, and when nobody waits for it any more."""

import asyncio
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message

from listener.archive import answers
from listener.archive.door import ClipNotFound, WrongOwner
from listener.archive.responses import ChunkedResponse, failure_response
from listener.errors import EarmarkError, Unavailable


class Asker:
    """Takes what is sent, until it has enough."""

    def __init__(self, enough: int = 100) -> None:
        self.taken: list[Message] = []
        self._enough = enough
        self._gone = asyncio.Event()

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.taken.append(message)
        if len(self.taken) == self._enough:
            self._gone.set()

    def ask(self, flow: ChunkedResponse) -> bytes:
        asyncio.run(flow({"type": "http"}, self.receive, self.send))
        return b"".join(one.get("body", b"") for one in self.taken)


class Made:
    """Pieces, and whether whoever makes them was let go."""

    def __init__(self, error: EarmarkError | None = None, count: int = 3) -> None:
        self.closed = False
        self._error = error
        self._count = count

    def pieces(self) -> Generator[bytes, None, None]:
        try:
            for _ in range(self._count):
                yield b"piece "
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (ClipNotFound("there is no such clip"), 404, "clip"),
        (WrongOwner("another's", "bob", ("one",)), 409, "not-hers"),
        (Unavailable("the disk is full"), 503, "unavailable"),
        (EarmarkError("this key counts already"), 409, "key"),
    ],
)
def test_each_failure_has_its_status_and_its_word(
    error: EarmarkError, status: int, word: str
) -> None:
    response = failure_response(Request({"type": "http"}), error)

    told: dict[str, Any] = msgspec.json.decode(response.body)
    assert (response.status_code, told["error"]) == (status, word)
    assert word in answers.ERRORS[status]
    assert "bob" not in str(told)
    assert response.headers["cache-control"] == "no-store"


def test_what_the_disk_said_is_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    response = failure_response(Request({"type": "http"}), Unavailable("/secret/place is full"))

    assert b"/secret/place" not in response.body
    assert "/secret/place" in caplog.text


def test_a_flow_is_sent_to_its_end() -> None:
    asker, made = Asker(), Made()

    assert asker.ask(ChunkedResponse(made.pieces())) == b"piece " * 3

    assert asker.taken[-1]["more_body"] is False
    assert made.closed


def test_a_flow_that_breaks_off_has_no_end(caplog: pytest.LogCaptureFixture) -> None:
    asker, made = Asker(), Made(Unavailable("the disk is gone"))

    asker.ask(ChunkedResponse(made.pieces()))

    assert asker.taken[-1]["more_body"] is True
    assert "broken off: the disk is gone" in caplog.text
    assert made.closed


def test_nothing_is_made_for_whoever_has_gone() -> None:
    asker, made = Asker(enough=4), Made(count=100_000)

    asker.ask(ChunkedResponse(made.pieces()))

    assert asker.taken[-1]["more_body"] is True
    assert made.closed
