"""Fixtures of the attacks."""

import pytest


@pytest.fixture(autouse=True)
def attacked_at_full_speed(unmeasured: None) -> None:
    """Attack processes as they are installed."""
    del unmeasured
