"""Which genes a perturbation can act by: those that modulate a fitted gene. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.betas.perturbing.reading import Models

Acting: TypeAlias = Mapping[str, Sequence[str]]
"""From a gene to the fitted genes that it modulates."""

_NAMED = 3


def acting_genes(adata: AnnData, panel: Models | None = None) -> Acting:
    """Return which genes modulate which fitted gene, alone or as part of a pair or a complex.

    Parameters
    ----------
    adata
        With the betas of some genes.
    panel
        The models of its store, where they have been read.
    """
    from celldyn.betas import genes_with_betas, read_result
    from celldyn.betas.names import NameMap

    names = NameMap(adata.var_names)
    parts: dict[str, list[str]] = {}
    acting: dict[str, dict[str, None]] = {}

    def note(target: str, modulators: Iterable[str]) -> None:
        for modulator in modulators:
            if modulator not in parts:
                parts[modulator] = [p for name in _partners(modulator) for p in names.parts(name)]
            for gene in parts[modulator]:
                acting.setdefault(gene, {})[target] = None

    for target in genes_with_betas(adata):
        note(target, read_result(adata, target).modulators)
    for target, field in ({} if panel is None else panel.fields).items():
        note(target, field.modulators.names)
    return {gene: list(targets) for gene, targets in acting.items()}


def _partners(modulator: str) -> list[str]:
    return modulator.replace("$", " ").replace("#", " ").split()


def in_words(gene: str, acting: Acting) -> str:
    """Say what a gene acts on, or that it acts on nothing, in one line."""
    targets = acting.get(gene, ())
    if not targets:
        return f"{gene} modulates no fitted gene: nothing but itself would change."
    said = ", ".join(targets[:_NAMED])
    more = len(targets) - _NAMED
    return f"{gene} modulates {said}{f' and {more} more' if more > 0 else ''}."
