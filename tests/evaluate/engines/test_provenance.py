"""Hashes of the code, and versions of what computes."""

import re

from listener.evaluate.engines.provenance import MIXING, SCORING, code_hash, digest_of, versions


def test_the_code_has_one_hash_and_its_parts_others() -> None:
    found = {code_hash(), code_hash(SCORING), code_hash(MIXING)}

    assert len(found) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in found)
    assert code_hash() == code_hash()


def test_a_digest_tells_parts_apart() -> None:
    assert digest_of("a", "b") != digest_of("ab")
    assert digest_of("a", 1) != digest_of("a", "1")
    assert digest_of((1, 2), 3) != digest_of(1, (2, 3))
    assert digest_of("\ud800") == digest_of("\ud800")


def test_versions_name_what_computes() -> None:
    assert {"earmark", "python", "numpy", "onnxruntime", "libsndfile"} <= versions().keys()
