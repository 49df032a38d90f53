import pytest

from listener.catalogue import Catalogue
from listener.errors import ModelRefused
from listener.inference.embedding import LongNet, StreamNet


def test_a_head_is_no_streaming_network(catalogue: Catalogue) -> None:
    with pytest.raises(ModelRefused, match="no streaming embedding network"):
        StreamNet(catalogue.load("alexa").data, "it")


def test_a_head_is_no_network_for_many_steps(catalogue: Catalogue) -> None:
    with pytest.raises(ModelRefused, match="no embedding network for many steps"):
        LongNet(catalogue.load("alexa").data, "it")
