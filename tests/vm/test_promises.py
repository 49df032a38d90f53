import pytest

from tests.vm.promises import Broken, Found, Known

CLIP = "ee452abe-2a72-4e6d-8551-59f9881f355a"
DIGEST = "0123456789abcdef"
OTHER = "fedcba9876543210"


def known(*lines: str) -> Known:
    promised = Known()
    for line in lines:
        promised.take(line)
    return promised


def found(*lines: str, following: int = 9) -> Found:
    seen = Found()
    for line in ("cut: device ed25519:a", "cut: strays 0", f"cut: next {following}", *lines):
        seen.take(line)
    return seen


def test_spooled_clip_can_be_in_the_archive() -> None:
    promised = known(f"cut: put 7 {CLIP} {DIGEST}")

    found(f"cut: archive {CLIP} {DIGEST}").compare(promised)

    assert promised.most_seq == 9


@pytest.mark.parametrize(
    ("promise", "there"),
    [
        (f"cut: put 7 {CLIP} {DIGEST}", "cut: mended 0"),
        (f"cut: put 7 {CLIP} {DIGEST}", f"cut: spool {CLIP} {OTHER}"),
        (f"cut: kept {CLIP} {DIGEST}", f"cut: spool {CLIP} {DIGEST}"),
    ],
    ids=["gone", "changed", "acknowledged and in the spool alone"],
)
def test_promised_clip_that_is_missing_is_lost(promise: str, there: str) -> None:
    with pytest.raises(Broken, match="lost"):
        found(there).compare(known(promise))


def test_torn_line_promises_nothing() -> None:
    promised = known(f"cut: put 7 {CLIP} {DIGEST[:-1]}", "cut: put 7 ee452abe")

    assert promised == Known()


def test_duplicate_sequence_number_is_reported() -> None:
    promised = known(f"cut: put 7 {CLIP} {DIGEST}")

    with pytest.raises(Broken, match="7 was given twice"):
        promised.take(f"cut: put 7 {CLIP.replace('e', 'd')} {DIGEST}")


def test_sequence_that_goes_back_is_reported() -> None:
    with pytest.raises(Broken, match="went back"):
        found(f"cut: spool {CLIP} {DIGEST}", following=7).compare(
            known(f"cut: put 7 {CLIP} {DIGEST}")
        )


def test_changed_device_key_is_reported() -> None:
    promised = known()
    found().compare(promised)

    with pytest.raises(Broken, match="another key"):
        found("cut: device ed25519:b", following=10).compare(promised)


def test_quarantined_clip_is_reported() -> None:
    with pytest.raises(Broken, match="set aside"):
        found("cut: strays 1 quarantine/x").compare(known())
