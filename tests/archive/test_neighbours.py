"""Who is let in, and who is not."""

from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from listener.archive.api import Api
from listener.archive.neighbours import is_private_address
from listener.archive.rights import Operations
from listener.archive.tickets import RequestChallenges

if TYPE_CHECKING:
    from listener.archive.holdings import ArchiveContext
    from tests.archive.conftest import FakeClock


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("192.168.1.7", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("/home/archive.sock", True),
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("::ffff:8.8.8.8", False),
        ("example.org", False),
    ],
)
def test_who_is_near(address: str, *, near: bool) -> None:
    assert is_private_address(address) is near


def test_strangers_are_refused_before_anything_is_read(
    holdings: "ArchiveContext", clock: "FakeClock"
) -> None:
    app = Api(holdings, RequestChallenges(clock), Operations(holdings, clock)).app()
    with TestClient(app, client=("8.8.8.8", 1)) as far:
        assert far.get("/v1/archive").status_code == 403
