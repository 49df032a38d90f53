"""Whether the load of requests reports what was not served."""

from typing import Any

from tests.adversary.request_load import OwnerClient, RequestFailed, RequestLoad, Served


class Client:
    """An archive that serves every second request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def ask(self, op: str, **fields: Any) -> bytes:  # noqa: ANN401 - fields of a request
        self.asked.append((op, fields))
        if len(self.asked) % 2:
            raise RequestFailed("503")
        return b""


def load_of(client: object, number: int) -> RequestLoad:
    assert isinstance(client, Client | OwnerClient)
    steps = (("list", dict), ("play", lambda: {"clip": "a"}))
    return RequestLoad(client, steps, number, 0.0)  # type: ignore[arg-type] # a stand-in


def test_requests_are_sent_in_turn_and_failures_are_counted() -> None:
    client = Client()
    load = load_of(client, 4)
    for _ in range(9):
        load.turn()

    assert client.asked == [("list", {}), ("play", {"clip": "a"})] * 2
    assert load.judge() == ["2 of 4 requests: 503"]
    assert load.summary().startswith("2 of 4 requests served, at most")


def test_slow_and_missing_requests_are_faults() -> None:
    load = load_of(Client(), 3)
    load.served += [Served("list", 5.5), Served("play", 0.1)]

    assert load.judge() == ["list: took 5.5 s", "1 requests were not sent"]
