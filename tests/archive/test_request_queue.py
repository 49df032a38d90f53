"""Pacing of requests: rates by address, and turns between addresses."""

import asyncio

import pytest

from listener.archive.request_queue import (
    ALL,
    MOST_ADDRESSES,
    PROVEN,
    UNPROVEN,
    RequestQueue,
    RequestRate,
    TokenBucket,
)
from tests.archive.conftest import FakeClock


def test_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(RequestRate(per_s=2, burst=3), 0.0)

    for _ in range(3):
        assert bucket.wait_s(0.0) == 0
        bucket.take(0.0)

    assert bucket.wait_s(0.0) == 0.5
    assert bucket.wait_s(0.5) == 0
    assert bucket.wait_s(1000.0) == 0


def test_clock_that_goes_back_gives_no_tokens() -> None:
    bucket = TokenBucket(RequestRate(per_s=2, burst=1), 10.0)
    bucket.take(10.0)

    assert bucket.wait_s(0.0) == 0.5


async def started(turns: "list[asyncio.Future[None]]") -> int:
    await asyncio.sleep(0)
    return sum(turn.done() and not turn.cancelled() for turn in turns)


def test_address_without_a_proof_waits_after_its_burst(clock: FakeClock) -> None:
    async def scenario() -> None:
        queue = RequestQueue(clock, RequestRate(per_s=10, burst=5))
        turns = [queue.enter("10.0.0.1") for _ in range(9)]
        assert await started(turns) == 5
        assert queue.delayed == 4

        clock.now_s += 0.25
        queue.enter("10.0.0.1")

        assert await started(turns) == 7

    asyncio.run(scenario())


def test_other_address_does_not_wait_for_a_crowded_one(clock: FakeClock) -> None:
    async def scenario() -> None:
        queue = RequestQueue(clock, RequestRate(per_s=10, burst=5))
        for _ in range(50):
            queue.enter("10.0.0.1")

        assert queue.enter("10.0.0.2").done()

    asyncio.run(scenario())


def test_addresses_start_in_turn_when_all_together_are_too_many(clock: FakeClock) -> None:
    async def scenario() -> None:
        queue = RequestQueue(clock, RequestRate(per_s=1000, burst=1000))
        crowd = [queue.enter("10.0.0.1") for _ in range(int(ALL.burst) + 40)]
        owner = queue.enter("10.0.0.2")
        assert not owner.done()

        clock.now_s += 2.5 / ALL.per_s
        queue.enter("10.0.0.3")

        assert owner.done()
        assert await started(crowd) == ALL.burst + 1

    asyncio.run(scenario())


def test_proof_raises_the_rate_of_its_address(clock: FakeClock) -> None:
    async def scenario() -> None:
        queue = RequestQueue(clock, RequestRate(per_s=1, burst=1))
        turns = [queue.enter("10.0.0.1") for _ in range(20)]
        assert await started(turns) == 1

        queue.note_proof("10.0.0.1")
        queue.enter("10.0.0.1")

        assert await started(turns) == 20

    asyncio.run(scenario())


def test_cancelled_request_takes_no_token(clock: FakeClock) -> None:
    async def scenario() -> None:
        queue = RequestQueue(clock, RequestRate(per_s=10, burst=1))
        queue.enter("10.0.0.1")
        lost = [queue.enter("10.0.0.1") for _ in range(100)]
        for turn in lost:
            turn.cancel()
        waiting = queue.enter("10.0.0.1")

        clock.now_s += 0.15
        queue.enter("10.0.0.2")

        assert waiting.done()

    asyncio.run(scenario())


def test_turn_comes_without_further_requests() -> None:
    async def scenario() -> None:
        queue = RequestQueue(asyncio.get_running_loop().time, RequestRate(per_s=50, burst=1))
        turns = [queue.enter("10.0.0.1") for _ in range(4)]

        await asyncio.wait_for(asyncio.gather(*turns), 30)

    asyncio.run(scenario())


def test_number_of_remembered_addresses_is_bounded(clock: FakeClock) -> None:
    async def scenario() -> None:
        queue = RequestQueue(clock)
        for number in range(3 * MOST_ADDRESSES):
            queue.enter(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
            clock.now_s += 1
        assert len(queue._buckets) <= MOST_ADDRESSES  # noqa: SLF001 - the bound itself

    asyncio.run(scenario())


@pytest.mark.parametrize("rate", [UNPROVEN, PROVEN])
def test_documented_rates_serve_a_household(rate: RequestRate) -> None:
    assert rate.burst >= 60
    assert rate.per_s <= ALL.per_s
