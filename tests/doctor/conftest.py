import pytest

from tests.ports import find_free_port


@pytest.fixture
def free_port() -> int:
    return find_free_port()
