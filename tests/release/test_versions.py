from hypothesis import given
from hypothesis import strategies as st

from listener.release import versions as numbers


def test_versions_are_compared_as_numbers() -> None:
    versions = ["0.10.0", "0.9.9", "1.0.0", "0.9.10", "not one"]

    assert sorted(versions, key=numbers.version_key) == [
        "not one",
        "0.9.9",
        "0.9.10",
        "0.10.0",
        "1.0.0",
    ]


@given(text=st.text(max_size=12))
def test_every_valid_version_has_a_three_part_key(text: str) -> None:
    assert not numbers.is_version(text) or len(numbers.version_key(text)) == 3
