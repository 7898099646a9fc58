"""The betas of many genes, with all that a perturbation needs to know of their models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from celldyn import keys
from celldyn.betas.config import ModelConfig
from celldyn.betas.field import BetaField, fit_of_cells
from celldyn.betas.results import ClusterFit
from celldyn.betas.stored import read_result
from celldyn.errors import ConfigError, NotFittedError
from celldyn.jobs import Job, Pace, Progress, run

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.betas.panel import BetaStore

Fields: TypeAlias = Mapping[str, BetaField]

_ALIKE = ("layer", "section_key", "kernel", "normalisation", "scale_factor", "include_self")
_KEPT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The models of several genes.

    Parameters
    ----------
    fields
        The betas of each gene.
    config
        What they were fitted with, but for the gene.
    heldout_r2
        Held-out R² of each gene's model, where it is known.
    """

    fields: Mapping[str, BetaField]
    config: ModelConfig
    heldout_r2: Mapping[str, float]


class Shelf(Mapping[str, BetaField]):
    """Fields of a store that stay in memory, up to a gigabyte, once they were read."""

    def __init__(self, store: Mapping[str, BetaField], genes: Sequence[str]) -> None:
        self._store, self._genes = store, dict.fromkeys(genes)
        self._kept: dict[str, BetaField] = {}
        self._room = _KEPT_BYTES

    def __getitem__(self, gene: str) -> BetaField:
        if gene not in self._genes:
            raise KeyError(gene)
        kept = self._kept.get(gene)
        if kept is not None:
            return kept
        field = self._store[gene]
        size = field.coefficients.nbytes + (0 if field.dense is None else field.dense.nbytes)
        if size <= self._room:
            self._kept[gene] = field
            self._room -= size
        return field

    def __iter__(self) -> Iterator[str]:
        return iter(self._genes)

    def __len__(self) -> int:
        return len(self._genes)


def genes_with_betas(adata: AnnData) -> list[str]:
    """Return the genes whose betas are on the AnnData itself."""
    home = adata.uns.get(keys.CELLDYN.name, {})
    if not isinstance(home, Mapping):
        return []
    info = [part for part in home.values() if isinstance(part, Mapping) and "gene" in part]
    named = [str(part["gene"]) for part in info]
    return [
        gene
        for gene in dict.fromkeys(named)
        if keys.BETAS(gene=gene) in adata.obsm and keys.BETAS_INFO(gene=gene) in home
    ]


def read_models(
    adata: AnnData, *, file_path: Path | str | None = None, panel: Models | None = None
) -> Models:
    """Read the models of all genes whose betas are on the AnnData, or in the store it names.

    Where a gene has both, those on the AnnData count.

    Parameters
    ----------
    file_path
        Where the AnnData is, so that its store is found beside it.
    panel
        The models of that store, where `load_models_job` has read them already.

    Raises
    ------
    NotFittedError
        If there are none.
    ConfigError
        If they were fitted on different layers or sections, or with different kernels.
    FileFormatError
        If the store that it names is gone or damaged.
    """
    from celldyn.betas.panel import find_store

    own, whole = genes_with_betas(adata), panel
    if whole is None and (store := find_store(adata, file_path)):
        whole = run(load_models_job(store), bar=False)
    if not own and whole is None:
        raise NotFittedError("the data set has no betas", "fit some genes first")
    fields: dict[str, BetaField] = dict(whole.fields) if whole and own else {}
    heldout = {} if whole is None else dict(whole.heldout_r2)
    configs = {} if whole is None else {"the panel": whole.config}
    for gene in own:
        result = read_result(adata, gene)
        configs[gene] = result.config
        fields[gene] = BetaField.of(result, fit_of_cells(adata, result))
        heldout[gene] = heldout_r2(result.fits)
    check_alike(configs)
    config = next(iter(configs.values()))
    return Models(fields if own or whole is None else whole.fields, config, heldout)


def load_models_job(store: BetaStore) -> Job[Models]:
    """Read the models of a panel; what fits into a gigabyte stays in memory.

    Raises
    ------
    NotFittedError
        If the store has no gene yet.
    FileFormatError
        If it is damaged.
    """
    genes = store.genes
    if not genes:
        raise NotFittedError(f"{store.path.name} has no betas yet", "fit the panel first")
    shelf, heldout, pace = Shelf(store, genes), {}, Pace()
    for k, gene in enumerate(genes):
        heldout[gene] = heldout_r2(store.fits(gene))
        shelf[gene]
        if pace.due():
            yield Progress("betas", k + 1, len(genes), gene)
    return Models(shelf, store.config, heldout)


def models_of(
    adata: AnnData,
    fields: Fields | Models | None,
    model: ModelConfig | None = None,
    heldout_r2: Mapping[str, float] | None = None,
) -> Models:
    """Return the models that a caller gave, or those on the AnnData."""
    from celldyn.betas.panel import BetaStore

    if isinstance(fields, Models):
        return fields
    if isinstance(fields, BetaStore):
        return run(load_models_job(fields), bar=False)
    if fields is None:
        return read_models(adata)
    if not len(fields):
        raise NotFittedError("there are no betas", "fit some genes first")
    if model is None:
        gene = next(iter(fields))
        if gene not in genes_with_betas(adata):
            raise ConfigError(f"nothing says what {gene} was fitted with", "give model")
        model = read_result(adata, gene).config
    return Models(fields, model, heldout_r2 or {})


def check_alike(configs: Mapping[str, ModelConfig]) -> None:
    """Raise ConfigError if models cannot be put together into one tissue."""
    held: dict[str, tuple[str, Any]] = {}
    for gene, config in configs.items():
        for name in _ALIKE:
            value = getattr(config, name)
            other, there = held.setdefault(name, (gene, value))
            if there != value:
                raise ConfigError(
                    f"{other} was fitted with {name} {there!r} and {gene} with {value!r}",
                    "fit them alike, or perturb with the betas of some of them",
                )


def heldout_r2(fits: Sequence[ClusterFit]) -> float:
    """Return the mean held-out R² of the clusters that have a model, by their cells; or NaN."""
    known = [fit for fit in fits if fit.status == "fitted" and np.isfinite(fit.heldout_r2)]
    if not known:
        return float("nan")
    weights = [fit.n_cells for fit in known]
    return float(np.average([fit.heldout_r2 for fit in known], weights=weights))
