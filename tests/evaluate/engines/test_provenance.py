"""Hashes of the code, and versions of what computes."""

import re

from listener.evaluate.engines.provenance import MIXING, SCORING, code_hash, digest_values, versions


def test_code_hash_is_deterministic_and_differs_by_part() -> None:
    found = {code_hash(), code_hash(SCORING), code_hash(MIXING)}

    assert len(found) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in found)
    assert code_hash() == code_hash()


def test_digest_separates_values_and_types() -> None:
    assert digest_values("a", "b") != digest_values("ab")
    assert digest_values("a", 1) != digest_values("a", "1")
    assert digest_values((1, 2), 3) != digest_values(1, (2, 3))
    assert digest_values("\ud800") == digest_values("\ud800")


def test_versions_have_the_computing_packages() -> None:
    assert {"earmark", "python", "numpy", "onnxruntime", "libsndfile"} <= versions().keys()
