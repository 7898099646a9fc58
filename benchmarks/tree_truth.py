"""What is known of a set of cells: fates, time, what knock-outs do; and how its graph is made."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

ROLES = ("driver", "branch", "time", "housekeeping")
"""A gene that is strong in one branch; one of a branch or segment; of time; of nothing."""


@dataclass(frozen=True)
class Intervention:
    """A change of a gene whose direction is known: cells of `among` should come to or leave fates.

    Parameters
    ----------
    gene
        What is changed.
    level
        0 is a knock-out, above 0 a level of log-normalised expression: the 99th percentile of
        cells that express the gene.
    fates
        Fates that become more likely (over-expression) or less (knock-out).
    among
        Clusters of the cells that are asked.
    """

    name: str
    gene: str
    level: float
    fates: tuple[str, ...]
    among: tuple[str, ...]

    @property
    def sign(self) -> int:
        """Of the change of the share of cells that come to `fates`."""
        return -1 if self.level == 0 else 1


@dataclass(frozen=True)
class Truth:
    """What is known of a set.

    Parameters
    ----------
    may
        Fates that are open to the cells of each cluster.
    terminal
        Clusters that are fates.
    inner
        The cluster between stem and fates, whose cells must come to one of `may`.
    interventions
        See `Intervention`.
    """

    name: str
    may: dict[str, tuple[str, ...]]
    terminal: tuple[str, ...]
    inner: str
    stem: str
    interventions: tuple[Intervention, ...]

    def write(self, adata: AnnData) -> None:
        """Keep it in uns["truth"]."""
        adata.uns["truth"] = json.dumps(asdict(self))

    @classmethod
    def read(cls, adata: AnnData) -> Truth:
        """Return what `write` kept."""
        told = json.loads(adata.uns["truth"])
        made = tuple(
            Intervention(
                one["name"], one["gene"], one["level"], tuple(one["fates"]), tuple(one["among"])
            )
            for one in told["interventions"]
        )
        may = {cluster: tuple(fates) for cluster, fates in told["may"].items()}
        return cls(told["name"], may, tuple(told["terminal"]), told["inner"], told["stem"], made)


def counts_of(
    share: Floats, total: float, theta: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return negative binomial counts; totals vary by a third from cell to cell."""
    library = total * np.exp(0.32 * rng.standard_normal(len(share)) - 0.05)
    mean = share / share.sum(axis=1, keepdims=True) * library[:, None]
    rate = rng.gamma(theta, mean / theta)
    counts: NDArray[np.float32] = rng.poisson(rate).astype(np.float32)
    return counts


def annotated(counts: NDArray[np.float32], genes: list[str]) -> AnnData:
    adata = AnnData(sparse.csr_matrix(counts))
    adata.var_names = genes
    adata.obs_names = [f"cell_{i}" for i in range(adata.n_obs)]
    return adata


def prepared(
    adata: AnnData,
    root: int,
    seed: int = 0,
    *,
    n_pcs: int = 20,
    target: float | None = 1e4,
    variable: list[str] | None = None,
) -> None:
    """Give counts in X what a landscape starts from, with scanpy; changes `adata`.

    `target` is what totals are scaled to, None their median; PCA sees `variable` genes alone.
    """
    import scanpy as sc

    adata.layers["raw"] = adata.X.copy()
    adata.obs["librarysize"] = np.asarray(adata.X.sum(axis=1)).ravel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.normalize_total(adata, target_sum=target)
        sc.pp.log1p(adata)
        adata.X = sparse.csr_matrix(adata.X, dtype=np.float32)
        adata.var["highly_variable"] = variable is None or adata.var_names.isin(variable)
        sc.pp.pca(adata, n_comps=n_pcs, random_state=seed)
        sc.pp.neighbors(adata, n_neighbors=15, random_state=seed)
        adata.uns["iroot"] = root
        sc.tl.diffmap(adata, random_state=seed)
        sc.tl.dpt(adata)
