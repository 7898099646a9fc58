"""Finding names while someone types."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice


class NameIndex:
    """Finds the names that contain what was typed, whatever its case.

    Parameters
    ----------
    names
        Genes, columns, ...; kept as they are spelt.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted((str(name) for name in names), key=lambda n: (n.casefold(), n))
        folded = [_fold(name) for name in self._names]
        self._text = "\n" + "\n".join(folded) + "\n"
        self._starts: list[int] = []
        at = 1
        for name in folded:
            self._starts.append(at)
            at += len(name) + 1

    def __len__(self) -> int:
        return len(self._names)

    def search(self, text: str, limit: int = 50) -> list[str]:
        """Return up to `limit` names that contain `text`: those that begin with it come first.

        Within each kind the order is the alphabet's, so that an exact match is the first of all;
        an empty text gives the first names of the alphabet.
        """
        wanted = _fold(text.strip())
        if not wanted:
            return self._names[:limit]
        hits = chain(self._hits("\n" + wanted), self._hits(wanted))
        return [self._names[i] for i in islice(dict.fromkeys(islice(hits, 2 * limit)), limit)]

    def _hits(self, wanted: str) -> Iterator[int]:
        """Yield the positions of the names in which `wanted` stands, each once."""
        at = self._text.find(wanted)
        lead = len(wanted) - len(wanted.lstrip("\n"))
        while at >= 0:
            name = bisect_right(self._starts, at + lead) - 1
            yield name
            behind = self._starts[name + 1] - 1 if name + 1 < len(self._names) else None
            if behind is None:
                return
            at = self._text.find(wanted, behind)


def _fold(name: str) -> str:
    return name.casefold().replace("\n", " ")
