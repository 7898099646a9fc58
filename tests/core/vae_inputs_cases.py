"""Small data for tests of the VAE, made without any AnnData."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from celldyn.vae.inputs import Batch, CountRows, Csr, Groups, Modality, VAEInputs


class InMemory:
    """A `CountMatrix` of a dense array."""

    def __init__(self, dense):
        self.dense = dense
        self.shape = dense.shape

    def rows(self, at):
        return csr_of(self.dense[at])


def csr_of(dense):
    matrix = sparse.csr_matrix(dense.astype(np.float32))
    matrix.sort_indices()
    return Csr(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        matrix.data,
        matrix.shape[1],
    )


def groups(rng, key, n_obs, n):
    codes = np.arange(n_obs) % n
    return Groups(key, tuple(f"{key}{k}" for k in range(n)), rng.permutation(codes))


def inputs(
    n_obs=30, features=(("rna", 23),), *, n_ambient=(3,), n_scaling=(2,), n_conditioning=(2,),
    n_encoder=(), n_dispersion=2, n_library=3, n_continuous=0, size_factor=False, missing=(),
    seed=0,
):  # fmt: skip
    """Return random data; `missing` are (modality, cell) that were not measured."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, n in features:
        mean = rng.gamma(1.0, 2.0, n)
        dense = rng.poisson(mean * rng.lognormal(0, 0.5, (n_obs, 1)))
        for modality, cell in missing:
            if modality == name:
                dense[cell] = 0
        names = tuple(f"{name}_{k}" for k in range(n))
        totals = dense.sum(1).astype(float)
        parts.append(Modality(name, names, InMemory(dense), totals > 0, totals))

    def several(key, sizes):
        return tuple(groups(rng, f"{key}{k}_", n_obs, n) for k, n in enumerate(sizes))

    continuous = None
    if n_continuous:
        continuous = rng.standard_normal((n_obs, n_continuous)).astype(np.float32)
    return VAEInputs(
        tuple(parts),
        ambient=several("ambient", n_ambient),
        dispersion=groups(rng, "dispersion", n_obs, n_dispersion),
        library=groups(rng, "library", n_obs, n_library),
        scaling=several("scaling", n_scaling),
        conditioning=several("conditioning", n_conditioning),
        encoder=several("encoder", n_encoder),
        batch=groups(rng, "batch", n_obs, 2),
        continuous=continuous,
        continuous_keys=tuple(f"c{k}" for k in range(n_continuous)),
        size_factor=rng.lognormal(0, 0.5, n_obs).astype(np.float32) if size_factor else None,
    )


def batch_of(data, cells, *, dense=False, dtype=torch.float32):
    """Return the minibatch of these cells, put together one table at a time."""
    cells = np.asarray(cells, np.int64)

    def codes(keys):
        if not keys:
            return torch.zeros(len(cells), 0, dtype=torch.int64)
        offsets = np.cumsum([0, *(len(key) for key in keys)])
        columns = [key.codes[cells] + offsets[k] for k, key in enumerate(keys)]
        return torch.from_numpy(np.stack(columns, 1))

    counts, present = [], []
    for part in data.modalities:
        whole = part.counts.dense
        if dense:
            counts.append(torch.from_numpy(whole[cells]).to(dtype))
        else:
            counts.append(CountRows(csr_of(whole), cells))
        here = part.present[cells]
        present.append(None if here.all() else torch.from_numpy(here))
    size = data.size_factor
    return Batch(
        tuple(counts),
        tuple(present),
        codes(data.ambient),
        codes(data.scaling),
        codes(data.conditioning),
        codes(data.encoder),
        torch.from_numpy(data.dispersion.codes[cells]),
        torch.from_numpy(data.library.codes[cells]),
        torch.from_numpy(data.batch.codes[cells]),
        None if data.continuous is None else torch.from_numpy(data.continuous[cells]).to(dtype),
        None if size is None else torch.from_numpy(np.log(size[cells])).to(dtype),
    )
