"""Selection of items by their transcript."""

from collections.abc import Iterator
from dataclasses import dataclass

from listener.evaluate.corpus.items import Corpus, InvalidItem, Item, NotedCorpus


@dataclass(frozen=True, slots=True)
class WithoutText:
    """The items of another corpus whose transcript does not contain a text, in any case."""

    corpus: Corpus
    text: str

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the items in the order of the corpus; one without a transcript stays."""
        text = self.text.casefold()
        for item in self.corpus:
            if isinstance(item, InvalidItem) or text not in (item.transcript or "").casefold():
                yield item

    def notes(self) -> Iterator[str]:
        """Yield the notes of the other corpus, if it has any."""
        if isinstance(self.corpus, NotedCorpus):
            yield from self.corpus.notes()
