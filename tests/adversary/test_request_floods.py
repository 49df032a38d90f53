"""Floods of requests by peers that prove nothing: an owner's own request still succeeds."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.adversary.rights_clients import ArchiveProcess, proof, running_archive

if TYPE_CHECKING:
    from tests.conftest import Household

pytestmark = pytest.mark.system

REQUESTS = 120
"""Twice the burst of an address without a proof; the rest is answered at 10 a second."""
PIPELINED = 20
MOST_GROWN_BYTES = 24 << 20


@pytest.fixture
def archive(home: Path, tmp_path: Path, household: "Household") -> Iterator[ArchiveProcess]:
    del household
    with running_archive(home, tmp_path) as running:
        yield running


def ticket_request(owner: str, accept: str = "accept: */*\r\n") -> bytes:
    body = json.dumps({"owner": owner, "request": {"op": "keys"}}).encode()
    return (
        f"POST /v1/tickets HTTP/1.1\r\nhost: a\r\n{accept}content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )


def flood(port: int, request: bytes, number: int) -> int:
    """Send requests over kept-alive connections, pipelined; return how many were answered 201."""
    done = 0
    while number > 0:
        with socket.create_connection(("127.0.0.1", port), 60) as sock:
            some = min(number, PIPELINED)
            sock.sendall(request * some)
            received = b""
            while received.count(b"HTTP/1.1 ") < some or not received.endswith(b"}"):
                piece = sock.recv(1 << 16)
                if not piece:
                    break
                received += piece
            done += received.count(b"HTTP/1.1 201 ")
            number -= some
    return done


@pytest.mark.parametrize("accept", ["accept: */*\r\n", ""], ids=["any ticket", "short tickets"])
def test_ticket_outlives_a_flood_of_requests_in_the_owners_name(
    archive: ArchiveProcess, household: "Household", accept: str
) -> None:
    ticket = archive.ticket("ada", {"op": "list"})
    before = archive.send("GET", "/v1/archive").json()["head"]["head"]["n"]

    made = flood(archive.port, ticket_request("ada", accept), REQUESTS)

    assert made == REQUESTS
    answer = archive.answer(ticket, proof(ticket, household.identities["ada"]))
    assert answer.status == 200, "answered by hand, after the requests of others"
    after = archive.send("GET", "/v1/archive").json()["head"]["head"]["n"]
    assert after - before == 1, "a request that nobody proves is not in the log"


def test_owner_succeeds_each_time_during_a_flood(
    archive: ArchiveProcess, household: "Household"
) -> None:
    stop = threading.Event()
    made: list[int] = []

    def run() -> None:
        while not stop.is_set():
            made.append(flood(archive.port, ticket_request("ada"), PIPELINED))

    thread = threading.Thread(target=run)
    thread.start()
    statuses = []
    try:
        for _ in range(4):
            ticket = archive.ticket("ada", {"op": "list"})
            answered = sum(made) + 2 * PIPELINED
            until_s = time.monotonic() + 60
            while sum(made) < answered and time.monotonic() < until_s:
                time.sleep(0.01)  # age by hand: at least 20 requests of others in between
            statuses.append(
                archive.answer(ticket, proof(ticket, household.identities["ada"])).status
            )
    finally:
        stop.set()
        thread.join()

    assert statuses == [200] * 4
    assert sum(made) >= 4 * PIPELINED


def test_short_ticket_of_an_older_client_outlives_the_flood_of_another_peer(
    archive: ArchiveProcess, household: "Household"
) -> None:
    body = json.dumps({"owner": "ada", "request": {"op": "list"}}).encode()
    headers = {"content-type": "application/json"}
    ticket = archive.send("POST", "/v1/tickets", body, headers, accept=None).json()
    assert len(ticket["ticket"]) == 22

    flood(archive.port, ticket_request("ada", ""), REQUESTS)

    assert archive.answer(ticket, proof(ticket, household.identities["ada"])).status == 200


def test_requests_and_wrong_answers_take_no_lasting_memory_or_log(
    archive: ArchiveProcess, household: "Household"
) -> None:
    process = next(child for child in psutil.Process().children() if "archive" in child.cmdline())
    flood(archive.port, ticket_request("bob"), REQUESTS // 2)  # what the first ones load
    before_bytes = process.memory_info().rss

    flood(archive.port, ticket_request("bob"), REQUESTS)
    for _ in range(150):
        assert archive.answer(archive.ticket("ada", {"op": "keys"}), b"wrong").status == 403

    assert process.memory_info().rss - before_bytes < MOST_GROWN_BYTES
    told = archive.ask("ada", household.identities["ada"], {"op": "log"}).json()["rows"]
    refused = [row["body"] for row in told if row.get("body", {}).get("outcome") == "refused"]
    assert (len(refused), sum(row["count"] for row in refused)) == (21, 120)
