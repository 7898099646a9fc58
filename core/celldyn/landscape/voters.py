"""Which cells vote on fates, and for what: all clusters, terminal clusters, or minima.

Shapes: n cells, d dimensions of the cell state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import ConfigError, DataError
from celldyn.landscape.fate_table import UNDECIDED
from celldyn.landscape.fates import TerminalStates, nearest_vote, terminal_states
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.phylogeny import label_codes

Terminal: TypeAlias = Literal["found"] | Sequence[str] | None

_NEAR = 15
_FEWEST = 0.5
"""Share of flows that gather below which what was found are no terminal states."""


@dataclass(frozen=True, slots=True)
class Voters:
    """What every cell votes for.

    Parameters
    ----------
    names
        Fates.
    codes
        (n,) number of each cell's.
    notes
        What a person should know.
    """

    names: tuple[str, ...]
    codes: Ints
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> ArrayLike:
        """Name of what each cell votes for, (n,)."""
        return np.array(self.names, dtype=object)[self.codes]


def voters_of_clusters(labels: ArrayLike, n_cells: int, terminal: Terminal) -> Voters:
    """Let cells vote for their cluster, or for none where it is not a terminal one.

    Parameters
    ----------
    terminal
        Names of terminal clusters; None takes every cluster for one, as sclsd does.

    Raises
    ------
    ConfigError
        If a name is that of no cluster, or there are none.
    DataError
        If there is not one label per cell.
    """
    names, codes = label_codes(labels, n_cells)
    if terminal is None:
        return Voters(tuple(names), codes)
    wanted = sorted({str(name) for name in terminal})
    absent = [name for name in wanted if name not in names]
    if absent or not wanted:
        raise ConfigError(
            f"terminal names {', '.join(absent) or 'no cluster'}",
            f"clusters are {', '.join(names)}",
        )
    number = {name: k for k, name in enumerate(wanted)}
    into = np.array([number.get(name, len(wanted)) for name in names])
    return _with_undecided(wanted, into[codes])


def voters_of_minima(
    z_end: Floats, z_cells: Floats, labels: ArrayLike | None, radius: float
) -> Voters:
    """Let cells vote for the minimum that their own flow ends in.

    Parameters
    ----------
    z_end
        (n, d) where the flow of every cell ends.
    z_cells
        (n, d) where they are.
    labels
        (n,) clusters, by which minima are named: a minimum has the name of the cluster that most
        of the 15 cells nearest to its centre are of. None numbers them.
    radius
        See `terminal_states`.

    Raises
    ------
    DataError
        If fewer than half of the flows gather.
    """
    found = terminal_states(z_end, radius=radius)
    gathered = float((found.member >= 0).mean())
    if not len(found.sizes) or gathered < _FEWEST:
        raise DataError(
            f"only {gathered:.0%} of the cells' flows gather in minima",
            "flow for longer, train with confinement, or name the terminal clusters",
        )
    names = _names_of(found, z_cells, labels)
    order = np.argsort(names, kind="stable")
    into = np.append(np.argsort(order), len(names))
    voters = _with_undecided([names[k] for k in order], into[found.member])
    told = ", ".join(f"{names[k]} ({found.sizes[k]} cells)" for k in range(len(names)))
    return Voters(voters.names, voters.codes, (f"terminal states found: {told}",))


def _with_undecided(names: list[str], codes: Ints) -> Voters:
    return Voters((*names, UNDECIDED), codes)


def _names_of(found: TerminalStates, z_cells: Floats, labels: ArrayLike | None) -> list[str]:
    """Name minima by the cells that are near them."""
    if labels is None:
        return [f"state {k + 1}" for k in range(len(found.sizes))]
    vote = nearest_vote(found.centres, z_cells, labels, min(_NEAR, len(z_cells)))
    named: list[str] = []
    for cluster in vote.fate:
        again = sum(name.split(" (")[0] == cluster for name in named)
        named.append(f"{cluster} ({again + 1})" if again else str(cluster))
    return named
