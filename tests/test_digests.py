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
def test_digests_equal_hashlib(kind: str, data: bytes) -> None:
    assert getattr(digests, kind)(data) == THEIRS[kind](data)
    assert getattr(digests, kind)(memoryview(data)) == THEIRS[kind](data)


@given(key=st.binary(min_size=1), data=st.binary())
def test_hmac_equals_the_standard_library(key: bytes, data: bytes) -> None:
    assert digests.hmac_sha256(key, data) == hmac.digest(key, data, "sha256")


@given(one=st.binary(), other=st.binary())
def test_compare_digests_equals_comparison(one: bytes, other: bytes) -> None:
    assert digests.compare_digests(one, one)
    assert digests.compare_digests(one, other) == (one == other)


def test_hear_does_not_load_a_second_openssl() -> None:
    words = "import sys, listener.cli.hear, listener.cli.survey; print('_hashlib' in sys.modules)"

    # Without what counts coverage: it brings hashlib.
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-I", "-c", words], env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
