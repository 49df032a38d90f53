"""Whether the oracle and the limits of resources detect each fault."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from tests.adversary.oracle import UNCERTAIN_S, Observed, Oracle, StoredFile
from tests.adversary.vitals import MIB, Limits, Sample, Vitals, read_sample


def oracle_of(*names: str) -> Oracle:
    made = Oracle()
    for name in names:
        made.seal(name, "ada", "hall", f"hash of {name}", at_s=0.0)
    return made


def observed(*names: str, **changes: Any) -> Observed:  # noqa: ANN401 - fields of Observed
    seen = Observed(
        files=[StoredFile(name, "ada", f"hash of {name}") for name in names],
        listed={"ada": list(names)},
        set_aside={},
        waiting={},
        counts={"hall": {}},
        part_files=[],
        opened_by_another=0,
        unopened=[],
    )
    return dataclasses.replace(seen, **changes)


def test_archived_clips_have_no_fault() -> None:
    assert oracle_of("a", "b").judge(observed("a", "b")) == []


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (observed("a"), "1 clips of ada on hall are lost, 0 are counted"),
        (observed("a", waiting={"hall": frozenset("b")}), "b still waits on hall"),
        (observed("a", "b", "c"), "the archive has c, which was not sealed"),
        (observed("a", "b", "b"), "b is stored 2 times"),
        (observed("a", "b", listed={"ada": ["a"]}), "ada is listed 1 clips, 2 are stored"),
        (observed("a", "b", part_files=["x.part"]), "a temporary file was left: x.part"),
        (observed("a", "b", opened_by_another=1), "1 clips were opened by another owner's key"),
        (observed("a", "b", unopened=["a"]), "a does not open with its owner's key"),
        (
            observed("a", set_aside={"hall": frozenset("b")}),
            "hall set 1 clips aside and counted 0",
        ),
        (
            observed(
                files=[StoredFile("a", "ada", "hash of a"), StoredFile("b", "ada", "other")],
                listed={"ada": ["a", "b"]},
            ),
            "b was altered",
        ),
        (
            observed(
                files=[StoredFile("a", "ada", "hash of a"), StoredFile("b", "bob", "hash of b")],
                listed={"ada": ["a"], "bob": ["b"]},
            ),
            "b of ada is stored for bob",
        ),
    ],
)
def test_each_fault_is_reported(seen: Observed, fault: str) -> None:
    assert oracle_of("a", "b").judge(seen) == [fault]


@pytest.mark.parametrize("counter", ["dropped", "expired"])
def test_counted_loss_is_no_fault(counter: str) -> None:
    oracle = oracle_of("a", "b")

    assert oracle.judge(observed("a", counts={"hall": {counter: 1}})) == []
    oracle.seal("c", "ada", "hall", "hash of c", at_s=0.0)
    assert oracle.judge(observed("a", counts={"hall": {counter: 1}})) != []


def test_clip_erased_on_arrival_without_an_order_is_a_fault() -> None:
    seen = observed("a", counts={"hall": {"erased": 1}})

    assert oracle_of("a", "b").judge(seen) == ["1 clips of ada on hall are lost, 0 are counted"]


def test_order_covers_earlier_clips_of_its_owner_only() -> None:
    oracle = oracle_of("a", "b")
    oracle.erase("ada", 0.0, ["a"])
    assert oracle.judge(observed()) == []

    oracle.seal("c", "ada", "hall", "hash of c", at_s=0.0)
    assert oracle.judge(observed("c")) == []
    assert oracle.judge(observed()) == ["1 clips of ada on hall are lost, 0 are counted"]
    oracle.seal("d", "bob", "hall", "hash of d", at_s=0.0)
    oracle.erase("ada", 0.0, ["c"])
    assert oracle.judge(observed()) == ["1 clips of bob on hall are lost, 0 are counted"]


@pytest.mark.parametrize(
    ("at_s", "tombstones", "is_fault"),
    [
        (UNCERTAIN_S, "b", False),
        (UNCERTAIN_S, "", True),
        (UNCERTAIN_S + 0.1, "b", True),
    ],
)
def test_clip_sealed_shortly_after_an_order_may_be_erased_with_a_record(
    *, at_s: float, tombstones: str, is_fault: bool
) -> None:
    oracle = oracle_of("a")
    oracle.erase("ada", 0.0, ["a"])
    oracle.seal("b", "ada", "hall", "hash of b", at_s)
    seen = observed(tombstones=frozenset("a" + tombstones))
    assert bool(oracle.judge(seen)) == is_fault

    oracle.erase("ada", at_s, [], delivered=["b"])
    assert bool(oracle.judge(seen)) == is_fault


def test_order_does_not_erase_another_owners_clip_shortly_after_it() -> None:
    oracle = oracle_of("a")
    oracle.erase("ada", 0.0, ["a"])
    oracle.seal("b", "bob", "hall", "hash of b", 0.0)

    assert oracle.judge(observed(tombstones=frozenset("ab"))) == [
        "1 clips of bob on hall are lost, 0 are counted"
    ]


def test_stored_clip_of_a_receipt_is_a_fault() -> None:
    oracle = oracle_of("a")
    oracle.erase("ada", 0.0, ["a"])

    assert oracle.judge(observed("a")) == ["a is stored, and a receipt says that it was erased"]


def test_clip_erased_by_an_order_before_it_was_sealed_is_a_fault() -> None:
    oracle = oracle_of("a")
    oracle.erase("ada", 0.0, ["a"], oracle.sealed_since_order("ada"))
    oracle.seal("b", "ada", "hall", "hash of b", at_s=0.0)
    oracle.seal("c", "bob", "hall", "hash of c", at_s=0.0)
    assert oracle.sealed_since_order("ada") == {"b"}
    oracle.erase("ada", 0.0, [], oracle.sealed_since_order("ada"))

    assert oracle.judge(observed(counts={"hall": {"dropped": 1}})) == [
        "b was acknowledged after an order and before the next, whose receipt lacks it"
    ]


def test_uncounted_refusal_is_a_fault() -> None:
    oracle = oracle_of()
    oracle.refuse("hall")

    assert oracle.judge(observed(counts={"hall": {"refused": 1}})) == []
    assert oracle.judge(observed()) == ["hall refused 1 clips and counted 0"]


def vitals(*rss_mib: float, descriptors: int = 20, log_bytes: int = 0) -> Vitals:
    """Samples a second apart, with a log that grows by ``log_bytes`` from one to the next."""
    return Vitals(
        "archive",
        [
            Sample(float(at), int(mib * MIB), descriptors, at * log_bytes)
            for at, mib in enumerate(rss_mib)
        ],
    )


LIMITS = Limits(rss_bytes=128 * MIB)


def test_steady_process_has_no_fault() -> None:
    assert vitals(*[60.0] * 40, log_bytes=100).judge(LIMITS) == []


def test_steep_start_is_not_growth() -> None:
    assert vitals(*[40, 50, 60, 70], *[70] * 20).judge(LIMITS) == []


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (vitals(*[60.0] * 20, 200.0, *[60.0] * 19), "archive: 200 MiB of memory"),
        (vitals(*[40.0 + n for n in range(40)]), "archive: memory grew by 20.0 MiB"),
        (vitals(*[60.0] * 40, descriptors=900), "archive: 900 descriptors"),
        (
            vitals(*[60.0] * 40, log_bytes=100_000),
            "archive: the log grew by 3900000 bytes in 39 s",
        ),
        (vitals(), "archive: there is no sample"),
    ],
)
def test_each_exceeded_limit_is_reported(seen: Vitals, fault: str) -> None:
    assert seen.judge(LIMITS) == [fault]


def test_slopes_are_per_second() -> None:
    seen = vitals(*range(10), log_bytes=7)

    assert seen.slope([sample.log_bytes for sample in seen.samples]) == pytest.approx(7)
    assert "+60.00 MiB a minute" in seen.summary()
    assert vitals(1.0).slope([1.0]) == 0
    assert vitals().summary() == "archive: no sample"


def test_sample_of_a_process_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 5)

    sample = read_sample(os.getpid(), 1.5, [log, tmp_path / "none"])

    assert sample is not None
    assert sample.log_bytes == 5
    assert sample.rss_bytes > MIB
    assert sample.descriptors > 0
    assert read_sample(2**22 + 5, 0.0) is None
