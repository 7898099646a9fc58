"""What a screen found: one row per gene, change and fate.

Shapes: q changes of one gene each, m cells, f fates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import MissingKeyError
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.landscape.perturbing.measures import direction, moved
from celldyn.landscape.perturbing.preparing import Prepared
from celldyn.landscape.perturbing.runs import Shares

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What one change of every gene does; (q, f) each, of the genes asked for.

    Parameters
    ----------
    label
        The change.
    effect, low, high
        Mean change of chances, and its 95 % interval.
    z
        In units of what is usual.
    p, p_any
        (q, f) and (q,).
    size
        (q,) mean of what is added to expression.
    n_null
        Genes that make the null.
    """

    label: str
    effect: Floats
    low: Floats
    high: Floats
    z: Floats
    p: Floats
    p_any: Floats
    size: Floats
    n_null: int


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """What changes of genes, one by one, do to the fates of the same cells.

    Parameters
    ----------
    genes, changes
        (q,) which gene, and what was done to it.
    names
        (f,) fates.
    cells
        (m,) which cells were followed.
    before
        (f,) mean chances without a change.
    effect, low, high
        (q, f) mean change of the chances, and its 95 % interval over cells and noise.
    z
        (q, f) effects in units of what housekeeping genes changed by as much do; NaN without null.
    p, q
        (q, f) how often housekeeping genes do as much in these units, and Benjamini-Hochberg's
        share of false discoveries over all changes.
    p_any, q_any
        (q,) the same for the share of cells that come to another fate.
    size
        (q,) mean of what was added to expression, over all cells.
    n_null
        Genes that the null was made of, of each change.
    config, seconds, notes
        How it was done, how long it took, and what to know.
    """

    genes: tuple[str, ...]
    changes: tuple[str, ...]
    names: tuple[str, ...]
    cells: Ints
    before: Floats
    effect: Floats
    low: Floats
    high: Floats
    z: Floats
    p: Floats
    q: Floats
    p_any: Floats
    q_any: Floats
    size: Floats
    n_null: int
    config: PerturbConfig
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        before: Shares,
        wanted: Ints,
        parts: Sequence[Effects],
        seconds: float = 0.0,
    ) -> Screen:
        """Put together what was found with each change."""
        names = np.array(prepared.subjects.genes, dtype=object)[wanted]
        p = np.concatenate([part.p for part in parts])
        p_any = np.concatenate([part.p_any for part in parts])
        q = np.column_stack([_discoveries(column) for column in p.T])
        notes = prepared.notes()
        n_null = min(part.n_null for part in parts)
        if n_null:
            notes.append(f"p-values are against {n_null} housekeeping genes.")
        return cls(
            genes=tuple(map(str, np.tile(names, len(parts)))),
            changes=tuple(np.repeat([part.label for part in parts], len(names)).tolist()),
            names=prepared.runs.voters.names,
            cells=prepared.subjects.cells,
            before=before.mean(axis=(0, 1), dtype=np.float64),
            effect=np.concatenate([part.effect for part in parts]),
            low=np.concatenate([part.low for part in parts]),
            high=np.concatenate([part.high for part in parts]),
            z=np.concatenate([part.z for part in parts]),
            p=p,
            q=q,
            p_any=p_any,
            q_any=_discoveries(p_any),
            size=np.concatenate([part.size for part in parts]),
            n_null=n_null,
            config=prepared.config,
            seconds=seconds,
            notes=tuple(notes),
        )

    @property
    def moved(self) -> Floats:
        """Share of cells that come to another fate, (q,)."""
        return moved(self.effect)

    @property
    def direction(self) -> Floats:
        """What part of each change every fate has, (q, f): 1 gains all that others lose."""
        return direction(self.effect)

    def table(self) -> pd.DataFrame:
        """Return one row per gene, change and fate, those that matter most first.

        Columns: gene, change, fate, effect, low, high, direction, z, p, q, and of the gene as a
        whole moved, p_any, q_any, size.
        """
        import pandas as pd

        n, f = self.effect.shape
        columns: dict[str, Any] = {
            "gene": np.repeat(np.array(self.genes, object), f),
            "change": np.repeat(np.array(self.changes, object), f),
            "fate": np.tile(np.array(self.names, object), n),
        }
        for name in ("effect", "low", "high", "direction", "z", "p", "q"):
            columns[name] = getattr(self, name).ravel()
        for name in ("moved", "p_any", "q_any", "size"):
            columns[name] = np.repeat(getattr(self, name), f)
        table = pd.DataFrame(columns)
        order = np.lexsort([-np.abs(table["effect"]), table["p"].fillna(1.0)])
        return table.iloc[order].reset_index(drop=True)

    def by_gene(self) -> pd.DataFrame:
        """Return one row per gene and change: moved, p, q, gained, lost, and every fate's effect.

        Those that move most against the null come first.
        """
        import pandas as pd

        names = np.array(self.names, dtype=object)
        still = self.moved < 1e-9
        columns: dict[str, Any] = {
            "gene": self.genes,
            "change": self.changes,
            "moved": self.moved,
            "p": self.p_any,
            "q": self.q_any,
            "gained": np.where(still, "", names[self.effect.argmax(axis=1)]),
            "lost": np.where(still, "", names[self.effect.argmin(axis=1)]),
            "size": self.size,
        }
        columns |= {f"effect {name}": self.effect[:, k] for k, name in enumerate(self.names)}
        table = pd.DataFrame(columns)
        order = np.lexsort([-table["moved"], table["p"].fillna(1.0)])
        return table.iloc[order].reset_index(drop=True)

    def toward(self, fate: str) -> pd.DataFrame:
        """Return one row per gene and change, those that take most cells to a fate first.

        Raises
        ------
        MissingKeyError
            If that is no fate.
        """
        if fate not in self.names:
            raise MissingKeyError(f"{fate!r} is no fate", f"there are {', '.join(self.names[:8])}")
        table = self.table()
        there = table[table["fate"] == fate].drop(columns="fate")
        return there.sort_values("effect", ascending=False, kind="stable", ignore_index=True)

    def matrix(self, change: str | None = None) -> pd.DataFrame:
        """Return effects as genes × fates, of one change (the first by default)."""
        import pandas as pd

        wanted = self.changes[0] if change is None else change
        if wanted not in self.changes:
            known = ", ".join(dict.fromkeys(self.changes))
            raise MissingKeyError(f"{wanted!r} was not screened", f"there is {known}")
        rows = np.flatnonzero(np.array(self.changes, object) == wanted)
        return pd.DataFrame(
            self.effect[rows], index=np.array(self.genes, object)[rows], columns=list(self.names)
        )

    def __str__(self) -> str:
        n_found = int((self.q_any < 0.05).sum())
        return (
            f"{len(self.genes)} changes in {len(self.cells)} cells: {n_found} do more than "
            f"housekeeping genes (q < 0.05); the most, {self.genes[int(self.moved.argmax())]}, "
            f"takes {self.moved.max():.1%} of the cells to another fate"
        )


def _discoveries(p: NDArray[np.float64]) -> Floats:
    """Return Benjamini-Hochberg's q of p-values, (q,); NaN where there is none."""
    from scipy.stats import false_discovery_control

    out, known = np.full(p.shape, np.nan), np.isfinite(p)
    if known.any():
        out[known] = false_discovery_control(p[known], method="bh")
    return out
