"""Several corpora as one."""

from pathlib import Path

from listener.evaluate.corpus.items import CombinedCorpus, InvalidItem, Item

HERE = Path("x")


def test_items_are_in_order_and_can_be_iterated_again() -> None:
    both = CombinedCorpus([[Item("a", HERE), Item("b", HERE)], [InvalidItem("line 1", "bad")]])

    assert list(both) == list(both)
    assert [each.name for each in both] == ["a", "b", "line 1"]


def test_only_matching_names_are_selected() -> None:
    corpus: list[Item | InvalidItem] = [
        Item("negative/a", HERE),
        Item("positive/b", HERE),
        InvalidItem("negative/c", "bad"),
    ]

    found = CombinedCorpus([corpus], ["negative/*", "other"])

    assert [each.name for each in found] == ["negative/a", "negative/c"]


def test_duplicate_name_gets_a_number() -> None:
    corpus = [Item("a", HERE), Item("a", HERE)]

    assert [each.name for each in CombinedCorpus([corpus, corpus])] == ["a", "a#2", "a#3", "a#4"]
