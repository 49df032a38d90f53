"""Tickets without state: what they authorise, how often, and what a flood of requests changes."""

import gc
import itertools
import tracemalloc
import uuid
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.archive import challenges as under_test
from listener.archive.challenges import (
    LONGEST_TICKET,
    KeyReplaced,
    OwnerNotActive,
    RequestChallenges,
    TooManyRequests,
)
from listener.archive.short_tickets import MOST_NAMES, NAME_CHARACTERS, ShortTickets
from listener.envelope import keys
from listener.rights import requests
from listener.rights.requests import KeyProof

if TYPE_CHECKING:
    from tests.archive.conftest import FakeClock
    from tests.conftest import Household

IDENTITY = pyrage.x25519.Identity.generate()
NEXT = pyrage.x25519.Identity.generate()
OKEY = keys.owner_id(str(IDENTITY.to_public()))


def issue(
    challenges: RequestChallenges, request: requests.Request, owner: str = "ada"
) -> tuple[str, bytes]:
    """Return a ticket and its answer."""
    issued = challenges.issue(owner, OKEY, str(IDENTITY.to_public()), request)
    answer = bytes(pyrage.decrypt(issued.challenge.encode(), [IDENTITY]))
    if issued.new_challenge is not None:
        answer += bytes(pyrage.decrypt(issued.new_challenge.encode(), [NEXT]))
    return issued.ticket, answer


def longest_requests() -> list[requests.Request]:
    code = itertools.cycle("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

    def proof(number: int) -> KeyProof:
        old, new = (("".join(itertools.islice(code, 43)) + "=") for _ in range(2))
        return KeyProof(device=f"{uuid.uuid4().hex[:29]}-{number:02}", old=old, new=new)

    return [
        requests.EraseRequest(clips=tuple(str(uuid.uuid4()) for _ in range(requests.MOST_NAMED))),
        requests.NewKeyRequest(
            recipient=str(NEXT.to_public()),
            proofs=tuple(proof(number) for number in range(requests.MOST_PROOFS)),
        ),
        requests.ListRequest(
            from_t="2026-11-22T08:00:00.000Z",
            until_t="2026-11-23T08:00:00.000Z",
            device="d" * 32,
            after=f"2026-11-22T08:00:00.000Z/{uuid.uuid4()}",
        ),
    ]


@pytest.mark.parametrize("request_", longest_requests(), ids=lambda request: request.op)
def test_ticket_carries_the_longest_requests(request_: requests.Request) -> None:
    challenges = RequestChallenges(lambda: 0.0)

    ticket, answer = issue(challenges, request_)
    result = challenges.redeem(ticket, answer)

    assert len(ticket) <= LONGEST_TICKET
    assert result is not None
    assert result.is_proven
    assert (result.ticket.owner, result.ticket.okey) == ("ada", OKEY)
    assert result.ticket.request == request_
    assert result.ticket.request_sha256 == requests.digest(request_)


def test_requested_tickets_take_no_memory() -> None:
    challenges = RequestChallenges(lambda: 0.0)
    request = longest_requests()[0]

    def growth_bytes() -> int:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(300):
            challenges.issue("ada", OKEY, str(IDENTITY.to_public()), request)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return after - before

    tracemalloc.start()
    try:
        growth_bytes()  # what the first calls import and cache
        grown_bytes = growth_bytes()
    finally:
        tracemalloc.stop()

    assert grown_bytes < 300 * 100, "each request has 8 kB"


def test_any_number_of_tickets_ends_no_other() -> None:
    challenges = RequestChallenges(lambda: 0.0)
    first, answer = issue(challenges, requests.ListRequest())
    for number in range(600):
        ticket, _ = issue(challenges, requests.KeysRequest())
        if number % 2:
            wrong = challenges.redeem(ticket, b"ada:keys:0:0")
            assert wrong is not None
            assert not wrong.is_proven

    result = challenges.redeem(first, answer)

    assert result is not None
    assert result.is_proven


def test_answer_is_valid_once_until_the_ticket_expires(clock: "FakeClock") -> None:
    challenges = RequestChallenges(clock)
    ticket, answer = issue(challenges, requests.ListRequest())
    later, later_answer = issue(challenges, requests.ListRequest())

    first = challenges.redeem(ticket, answer)
    assert first is not None
    assert first.is_proven
    for pause_s in (0, 150, 149.9, 0.1, 300):
        clock.now_s += pause_s
        assert challenges.redeem(ticket, answer) is None
    assert challenges.redeem(later, later_answer) is None


def test_memory_of_proven_tickets_ends_with_them(
    clock: "FakeClock", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MOST_PROVEN_PER_OWNER", 3)
    challenges = RequestChallenges(clock)
    tickets = [issue(challenges, requests.ListRequest()) for _ in range(4)]
    others, others_answer = issue(challenges, requests.ListRequest(), "bob")

    results = [challenges.redeem(*ticket) for ticket in tickets[:3]]
    assert all(result is not None and result.is_proven for result in results)
    with pytest.raises(TooManyRequests):
        challenges.redeem(*tickets[3])
    other = challenges.redeem(others, others_answer)

    assert other is not None
    assert other.is_proven, "one owner's limit is not another's"
    clock.now_s += 300
    again = challenges.redeem(*issue(challenges, requests.ListRequest()))
    assert again is not None
    assert again.is_proven


def test_wrong_answer_uses_the_ticket_up() -> None:
    challenges = RequestChallenges(lambda: 0.0)
    ticket, answer = issue(challenges, requests.ListRequest())

    wrong = challenges.redeem(ticket, answer[:-3])

    assert wrong is not None
    assert not wrong.is_proven
    assert challenges.redeem(ticket, answer) is None


def test_crossed_answer_names_its_owner_and_uses_both_tickets_up() -> None:
    challenges = RequestChallenges(lambda: 0.0)
    adas, adas_answer = issue(challenges, requests.ExportRequest())
    bobs, bobs_answer = issue(challenges, requests.ExportRequest(), "bob")

    crossed = challenges.redeem(adas, bobs_answer)

    assert crossed is not None
    assert (crossed.is_proven, crossed.crossed) == (False, "bob")
    assert challenges.redeem(bobs, bobs_answer) is None
    assert challenges.redeem(adas, adas_answer) is None
    again, _ = issue(challenges, requests.ExportRequest())
    used = challenges.redeem(again, bobs_answer)
    assert used is not None
    assert used.crossed is None, "the answer was used"


def test_line_that_the_archive_did_not_make_is_not_crossed() -> None:
    challenges, other = RequestChallenges(lambda: 0.0), RequestChallenges(lambda: 0.0)
    _, answer = issue(other, requests.ExportRequest(), "bob")
    ticket, _ = issue(challenges, requests.ExportRequest())

    result = challenges.redeem(ticket, answer)

    assert result is not None
    assert (result.is_proven, result.crossed) == (False, None)


def test_ticket_of_another_process_or_changed_ticket_is_refused() -> None:
    challenges = RequestChallenges(lambda: 0.0)
    ticket, answer = issue(challenges, requests.ListRequest())

    assert RequestChallenges(lambda: 0.0).redeem(ticket, answer) is None
    for position in range(0, len(ticket) - 1, 7):
        other = "A" if ticket[position] != "A" else "B"
        assert challenges.redeem(ticket[:position] + other + ticket[position + 1 :], answer) is None
    result = challenges.redeem(ticket, answer)
    assert result is not None
    assert result.is_proven


@given(st.text(max_size=100) | st.text("ABCabc019-_=", max_size=100), st.binary(max_size=600))
def test_any_text_is_not_a_ticket(name: str, answer: bytes) -> None:
    assert RequestChallenges(lambda: 0.0).redeem(name, answer) is None


@given(st.binary(max_size=600))
def test_no_other_answer_is_proven(answer: bytes) -> None:
    challenges = RequestChallenges(lambda: 0.0)
    result = challenges.redeem(issue(challenges, requests.ListRequest())[0], answer)

    assert result is not None
    assert (result.is_proven, result.crossed) == (False, None)


def test_ticket_is_checked_against_the_roster_when_it_is_used(household: "Household") -> None:
    roster = household.home.roster()
    owner = roster.known_owner("ada")
    ticket = under_test.RequestChallenge(
        "ada", owner.okey, requests.ListRequest(), requests.digest(requests.ListRequest())
    )

    ticket.check_roster(roster)
    with pytest.raises(KeyReplaced):
        ticket.check_roster(roster.with_new_key("ada", str(NEXT.to_public())))
    removed = roster.without_owner("ada")
    with pytest.raises(OwnerNotActive):
        ticket.check_roster(removed)
    with pytest.raises(OwnerNotActive):
        ticket.check_roster(removed.with_owner("ada", owner.recipient))


def test_short_name_stands_for_its_ticket_once() -> None:
    short = ShortTickets()

    name = short.add("the-ticket", "10.0.0.1")

    assert len(name) == NAME_CHARACTERS
    assert short.take(name) == "the-ticket"
    assert short.take(name) == name
    assert short.take("any-other-text") == "any-other-text"


def test_short_names_of_one_peer_displace_its_own() -> None:
    short = ShortTickets()
    tickets: dict[str, Any] = {peer: short.add(peer, peer) for peer in ("10.0.0.1", "")}

    for number in range(3 * MOST_NAMES):
        short.add(str(number), "10.0.0.66")

    assert [short.take(name) for name in tickets.values()] == list(tickets)
