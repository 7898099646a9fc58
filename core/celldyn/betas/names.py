"""Gene names of a prior in the spelling of the data set: exact, else case-free."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

_N_NAMES_READ = 100


class NameMap:
    """Finds genes of a data set by names that may be written in another case.

    Parameters
    ----------
    names
        The data set's gene names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._exact = frozenset(self._names)

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Spelling by folded name; names that differ in case alone stand for nothing."""
        folded: dict[str, str] = {}
        twice = set()
        for name in self._names:
            if folded.setdefault(name.casefold(), name) != name:
                twice.add(name.casefold())
        return {key: name for key, name in folded.items() if key not in twice}

    def find(self, name: str, *, case_free: bool = False) -> str | None:
        """Return the data set's spelling of a gene or complex; None if a part is missing."""
        found = [self._find_one(part, case_free) for part in self.parts(name)]
        return "_".join(found) if None not in found else None  # type: ignore[arg-type]

    def parts(self, name: str) -> list[str]:
        """Return the sub-units of a complex, joined by "_"; a gene of that very name is one."""
        return [name] if name in self._exact or "_" not in name else name.split("_")

    def _find_one(self, name: str, case_free: bool) -> str | None:  # noqa: FBT001
        if case_free:
            return self._folded.get(name.casefold())
        return name if name in self._exact else None

    def rows(self, table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        """Return the rows whose names are all in the data set, in its spelling.

        Names are matched exactly; where that leaves no row at all, they are matched case-free.
        """
        for case_free in (False, True):
            renamed = table.copy()
            for column in columns:
                unique = table[column].unique()
                spelling = {name: self.find(name, case_free=case_free) for name in unique}
                renamed[column] = table[column].map(spelling)
            renamed = renamed.dropna(subset=columns)
            if len(renamed):
                break
        return renamed.reset_index(drop=True)


def infer_species(names: Iterable[str]) -> Literal["mouse", "human"]:
    """Tell mouse from human by the capitals of the first 100 gene names.

    A name like "Sox2" (one capital, at the front) speaks for mouse, one like "SOX2" for human;
    the majority decides, and human where there is none.
    """
    mouse = human = 0
    for name, _ in zip(names, range(_N_NAMES_READ), strict=False):
        capitals = [letter.isupper() for letter in name if letter.isalpha()]
        mouse += len(name) > 1 and name[0].isupper() and sum(capitals) == 1
        human += bool(capitals) and all(capitals)
    return "mouse" if mouse > human else "human"
