import hashlib
import hmac
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener import digests

THEIRS = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}


@pytest.mark.parametrize("kind", THEIRS)
@given(data=st.binary())
def test_they_are_those_of_pythons_own_library(kind: str, data: bytes) -> None:
    assert getattr(digests, kind)(data) == THEIRS[kind](data)
    assert getattr(digests, kind)(memoryview(data)) == THEIRS[kind](data)


@given(key=st.binary(min_size=1), data=st.binary())
def test_codes_with_a_key_are_those_of_pythons_own_library(key: bytes, data: bytes) -> None:
    assert digests.hmac_sha256(key, data) == hmac.digest(key, data, "sha256")


@given(one=st.binary(), other=st.binary())
def test_only_the_same_is_the_same(one: bytes, other: bytes) -> None:
    assert digests.compare_digests(one, one)
    assert digests.compare_digests(one, other) == (one == other)


def test_what_hears_has_openssl_once_in_its_memory() -> None:
    words = "import sys, listener.cli.hear, listener.cli.survey; print('_hashlib' in sys.modules)"

    # Without what counts coverage: it brings hashlib.
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-I", "-c", words], env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
