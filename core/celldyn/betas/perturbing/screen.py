"""Many genes perturbed one by one in the same tissue, which is wired once for all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import Floats
from celldyn.betas.names import NameMap
from celldyn.betas.perturbing.circuit import Circuit, circuit_job
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.inputs import PerturbTissue
from celldyn.betas.perturbing.preparing import (
    features_of,
    prepare_tissue,
    with_perturbation,
)
from celldyn.betas.perturbing.propagate import in_data_order_job, propagate_job
from celldyn.betas.perturbing.reading import Fields, Models, models_of
from celldyn.betas.perturbing.screen_files import ScreenFolder
from celldyn.data import find_gene
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, scaled
from celldyn.perturbation import Change, Perturbation

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

ScreenChange: TypeAlias = Literal["knockout", "max"] | float
Measure: TypeAlias = Literal["impact", "signed", "mean_abs"]

MEASURES: tuple[Measure, ...] = ("impact", "signed", "mean_abs")


@dataclass(frozen=True, slots=True, eq=False)
class ScreenInputs:
    """What a screen reads, as arrays.

    Parameters
    ----------
    tissue
        The tissue and its models.
    perturbations
        One per gene.
    label
        What is done to each, as in the names of files: "0x", "maxx", "2x".
    """

    tissue: PerturbTissue
    perturbations: tuple[Perturbation, ...]
    label: str

    @property
    def genes(self) -> list[str]:
        """The screened genes."""
        return [next(iter(one.genes)) for one in self.perturbations]


@dataclass(frozen=True, slots=True, eq=False)
class ScreenResult:
    """What each gene does to each cell type; of itself it is left out.

    Parameters
    ----------
    genes, clusters
        The screened genes, and the cell types.
    impact
        (n_genes, n_clusters) mean over the responding genes of |mean change over the cells|.
    signed
        The same without the size bars.
    mean_abs
        Mean |change| over cells and responding genes.
    label, config
        What was done to each gene, and how it was followed.
    seconds
        How long it took.
    """

    genes: tuple[str, ...]
    clusters: tuple[str, ...]
    impact: Floats
    signed: Floats
    mean_abs: Floats
    label: str
    config: PerturbConfig
    seconds: float = 0.0

    def matrix(self, measure: Measure = "impact") -> pd.DataFrame:
        """Return one measure as genes × cell types, the genes of largest impact first."""
        import pandas as pd

        if measure not in MEASURES:
            raise ConfigError(f"{measure!r} is no measure", f"use one of {', '.join(MEASURES)}")
        values = pd.DataFrame(
            getattr(self, measure), index=list(self.genes), columns=list(self.clusters)
        )
        order = np.argsort(-self.impact.mean(axis=1), kind="stable")
        return values.iloc[order]

    def table(self) -> pd.DataFrame:
        """Return one row per gene and cell type: gene, cluster, impact, signed, mean_abs."""
        import pandas as pd

        n_genes, n_clusters = self.impact.shape
        columns: dict[str, Any] = {
            "gene": np.repeat(np.array(self.genes, object), n_clusters),
            "cluster": np.tile(np.array(self.clusters, object), n_genes),
        }
        columns |= {name: getattr(self, name).ravel() for name in MEASURES}
        return pd.DataFrame(columns)


def prepare_screen(
    adata: AnnData,
    config: PerturbConfig | None = None,
    *,
    genes: Sequence[str] | None = None,
    change: ScreenChange = "knockout",
    cells: ArrayLike | None = None,
    fields: Fields | Models | None = None,
    model: ModelConfig | None = None,
) -> ScreenInputs:
    """Check and read what a screen needs; nothing is computed or written.

    Parameters
    ----------
    adata
        (n_obs, n_vars) with the betas of some genes.
    config
        The parameters.
    genes
        The genes to screen; None for every gene that modulates a fitted one.
    change
        "knockout"; "max", to the gene's highest expression; or a factor.
    cells
        In which cells, as `Perturbation` takes them; None for all.
    fields, model
        As `prepare_perturb` takes them.

    Raises
    ------
    NotFittedError, MissingKeyError, ConfigError, DataError
        As `prepare_perturb` does.
    """
    config = PerturbConfig() if config is None else config
    models = models_of(adata, fields, model)
    if genes is None:
        names = NameMap(adata.var_names)
        read = (part for name in features_of(adata, models) for part in names.parts(name))
        named = sorted(dict.fromkeys(read))
    else:
        named = list(dict.fromkeys(find_gene(adata, gene) for gene in genes))
    tissue = prepare_tissue(adata, config, models, named)
    place = {gene: k for k, gene in enumerate(tissue.names)}
    made = {
        gene: _change(change, float(tissue.expression[:, place[gene]].max())) for gene in named
    }
    inside = None if cells is None else np.asarray(cells)
    perturbations = tuple(Perturbation({gene: one}, inside) for gene, one in made.items())
    if not perturbations:
        raise DataError("there is no gene to screen", "name some, or fit genes with modulators")
    return ScreenInputs(tissue, perturbations, _label(change))


def screen_job(
    inputs: ScreenInputs, config: PerturbConfig, *, folder: Path | str | None = None
) -> Job[ScreenResult]:
    """Perturb each gene in turn; kernels, received signals and coefficients are made once.

    Parameters
    ----------
    inputs, config
        What `prepare_screen` returned for this config, and the parameters.
    folder
        Where the expression after each perturbation is kept, one Parquet file per gene:
        "<gene>_<steps>n_<what>.parquet". Genes whose file is there from the same screen are not
        computed again, so that a screen can be stopped and taken up.

    Yields
    ------
    Progress. When a gene is done its `metrics` hold "impact".
    """
    started = time.perf_counter()
    tissue, n = inputs.tissue, len(inputs.perturbations)
    kept = None if folder is None else ScreenFolder.of(folder, tissue, config, inputs.label)
    rows: list[Floats] = []
    circuit: Circuit | None = None
    for k, perturbation in enumerate(inputs.perturbations):
        gene = inputs.genes[k]
        row = None if kept is None else kept.read(gene, perturbation)
        if row is None:
            if circuit is None:
                circuit = yield from scaled(circuit_job(tissue, config), k, n, "wiring")
            one = with_perturbation(tissue, perturbation, notes=False)
            job = propagate_job(circuit, one, config, preview=False)
            change, _ = yield from scaled(job, k, n, gene)
            delta = yield from in_data_order_job(circuit, change, config.negligible)
            row = _measure(tissue, gene, delta)
            if kept is not None:
                kept.write(gene, perturbation, delta, row)
        rows.append(row)
        impact = float(row[0].mean())
        yield Progress("screen", k + 1, n, gene, {"impact": impact})
    impact_of, signed, mean_abs = np.array(rows).transpose(1, 0, 2)
    return ScreenResult(
        tuple(inputs.genes),
        tissue.clusters,
        impact_of,
        signed,
        mean_abs,
        label=inputs.label,
        config=config,
        seconds=time.perf_counter() - started,
    )


def _measure(tissue: PerturbTissue, gene: str, delta: NDArray[np.float32]) -> Floats:
    """Return the (n_measures, n_clusters) summary of one perturbation."""
    from scipy.sparse import csr_array

    others = tissue.responds & (np.array(tissue.genes, object) != gene)
    n_clusters, n_obs = len(tissue.clusters), tissue.n_obs
    if not others.any():
        return np.zeros((len(MEASURES), n_clusters))
    codes = tissue.cluster_codes
    share = 1.0 / np.maximum(np.bincount(codes, minlength=n_clusters), 1)
    mean_of = csr_array((share[codes], (codes, np.arange(n_obs))), shape=(n_clusters, n_obs))
    changed = delta[:, others]
    mean = np.asarray(mean_of @ changed, np.float64)
    size = np.asarray(mean_of @ np.abs(changed), np.float64)
    return np.array([np.abs(mean).mean(axis=1), mean.mean(axis=1), size.mean(axis=1)])


def _change(change: ScreenChange, highest: float) -> Change:
    if change == "knockout":
        return Change("knockout")
    if change == "max":
        return Change("set", max(highest, 0.0))
    if isinstance(change, str):
        raise ConfigError(f"{change!r} is no change", "use 'knockout', 'max' or a factor")
    return Change("multiply", float(change))


def _label(change: ScreenChange) -> str:
    return {"knockout": "0x", "max": "maxx"}.get(str(change), f"{change}x")
