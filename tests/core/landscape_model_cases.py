"""Small data and batches that an LSD model is tried on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse

from celldyn.landscape import LSDConfig
from celldyn.landscape.batching import WalkBatch, make_batch
from celldyn.landscape.networks import Networks


def small_config(**model: object) -> LSDConfig:
    """A tree of small networks, short walks and few of them."""
    cfg = LSDConfig()
    cfg.model.z_dim = 4
    for name, value in model.items():
        setattr(cfg.model, name, value)
    dims = cfg.model.layer_dims
    dims.x_encoder, dims.z_decoder, dims.potential = (16, 12), (12, 16), (8, 8)
    dims.z_encoder, dims.B_decoder, dims.xl_encoder = (8,), (8,), (8,)
    cfg.walks.num_walks, cfg.walks.path_len, cfg.walks.batch_size = 64, 6, 32
    return cfg


def line(n_cells: int = 120, n_genes: int = 30, seed: int = 0) -> AnnData:
    """Cells along one line of time, which half of the genes rise or fall with."""
    random = np.random.default_rng(seed)
    time = np.sort(random.uniform(size=n_cells))
    slope = np.where(
        np.arange(n_genes) % 4 == 0, 3.0, np.where(np.arange(n_genes) % 4 == 1, -3, 0)
    )
    share = np.exp(slope * (time[:, None] - 0.5))
    share /= share.sum(1, keepdims=True)
    library = random.uniform(80, 160, n_cells)
    counts = random.poisson(share * library[:, None]).astype(np.float32)
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    adata = AnnData(sparse.csr_matrix(np.log1p(counts / total * 1e4)))
    adata.layers["raw"] = sparse.csr_matrix(counts)
    adata.obs["librarysize"] = counts.sum(1)
    adata.obs["time"] = time
    adata.obs["clusters"] = np.where(time < 0.5, "early", "late")
    apart = np.abs(np.subtract.outer(np.arange(n_cells), np.arange(n_cells)))
    adata.obsp["connectivities"] = sparse.csr_matrix(((apart > 0) & (apart < 6)).astype(float))
    adata.obsm["X_line"] = np.c_[time, np.zeros(n_cells)]
    return adata


class Table:
    """Expression and counts of cells, in double precision."""

    def __init__(self, n_cells: int, n_genes: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._counts = torch.from_numpy(random.poisson(1.2, (n_cells, n_genes)).astype(float))
        self.library = self._counts.sum(1).numpy().astype(np.float32)

    def expression(self, cells: np.ndarray) -> torch.Tensor:
        """Rows of log expression."""
        return torch.log1p(self._counts[cells])

    def counts(self, cells: np.ndarray) -> torch.Tensor:
        """Rows of counts."""
        return self._counts[cells]


def double_batch(
    rows: np.ndarray | None = None, *, n_genes: int = 20, n_walks: int = 12, path_len: int = 7
) -> WalkBatch:
    """A batch in double precision, in which cells are met many times."""
    walks = np.random.default_rng(3).integers(0, 30, (n_walks, path_len)).astype(np.int32)
    batch = make_batch(Table(30, n_genes), walks, torch.device("cpu"), rows=rows)
    return replace(batch, times=batch.times.double(), log_library=batch.log_library.double())


def double_networks(cfg: LSDConfig, n_genes: int = 20) -> Networks:
    """Networks in double precision, in training mode."""
    torch.manual_seed(1)
    networks = Networks(n_genes, cfg).double()
    networks.library_loc.fill_(3.0)
    networks.library_scale.fill_(0.4)
    return networks.train()
