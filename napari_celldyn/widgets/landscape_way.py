"""Which way walks go, as it was asked for in the dock. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celldyn import keys

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.landscape import LSD

_TIME_WORDS = ("dptpseudotime", "pseudotime", "latenttime", "palantir", "dpt")
"""What a column of pseudotime is called, the likeliest first."""
_GRAPHS = ("connectivities", "distances")
"""Matrices of obsp that lead nowhere."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a walk follows.

    Parameters
    ----------
    time
        Column of obs; None with a matrix.
    matrix
        Key of obsp; None with a pseudotime.
    clusters, children
        Column of obs, and which of its clusters come from which; None without a phylogeny.
    """

    time: str | None = None
    matrix: str | None = None
    clusters: str | None = None
    children: Mapping[str, Sequence[str]] | None = None

    def inputs(self) -> dict[str, Any]:
        """Return it as a record keeps it."""
        children = self.children
        held = None if children is None else {k: list(v) for k, v in children.items()}
        return {
            "time": self.time, "matrix": self.matrix, "clusters": self.clusters, "children": held
        }  # fmt: skip

    def lead(self, lsd: LSD) -> None:
        """Let the walks of a model follow it.

        Raises
        ------
        CelldynError
            If the column, matrix or phylogeny cannot serve.
        """
        if self.matrix is not None:
            lsd.set_prior_transition(prior_transition=lsd.adata.obsp[self.matrix])
            return
        if self.children is not None and self.clusters is not None:
            lsd.set_phylogeny(self.children, self.clusters)
        lsd.set_prior_transition(prior_time_key=self.time)


def propose_time(columns: Sequence[str]) -> str | None:
    """Return the column that is a pseudotime by its name; none that was learned here."""
    own = keys.PSEUDOTIME.name
    plain = {name: name.casefold().replace("_", "").replace(" ", "") for name in columns}
    for word in _TIME_WORDS:
        for name, letters in plain.items():
            if word in letters and name != own:
                return name
    return None


def matrices(adata: AnnData) -> list[str]:
    """Return the keys of obsp, those that can be transitions in front."""
    names = [str(name) for name in adata.obsp]
    return sorted(names, key=lambda name: name in _GRAPHS)
