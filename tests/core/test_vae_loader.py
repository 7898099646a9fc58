"""Minibatches: each cell once, in the same order for the same seed, within the memory allowed."""

from __future__ import annotations

import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy.sparse import csr_matrix
from vae_data_cases import N_OBS, cells, counts, dense, multiome, tissue

from celldyn.data import read, write
from celldyn.errors import DataError
from celldyn.vae.backed import BackedCounts
from celldyn.vae.config import KeysConfig
from celldyn.vae.counts import counts_of
from celldyn.vae.csr import take_rows
from celldyn.vae.inputs import CountRows
from celldyn.vae.loader import Minibatches, batch_of, default_budget
from celldyn.vae.preparing import prepare, prepare_mudata
from celldyn.vae.stores import DenseStore, DeviceStore

KEYS = KeysConfig(
    ambient_covariate_keys=["embryo", "pcr_well"],
    dispersion_key="embryo",
    library_size_key="pcr_well",
    nn_conditioning_covariate_keys=["experiment", "lane"],
    nn_continuous_covariate_keys=["age"],
    size_factor_key="size",
)
EVERY = np.arange(N_OBS)
TINY = 2000
"""Bytes: less than half of the counts of these cells."""


def numbered(n_obs=N_OBS, n_vars=4) -> AnnData:
    """Cells that tell who they are: the first gene counts the cell's number + 1."""
    x = np.zeros((n_obs, n_vars), np.float32)
    x[:, 0] = np.arange(n_obs) + 1
    x[:, 1:] = np.random.default_rng(0).poisson(3, (n_obs, n_vars - 1))
    return AnnData(csr_matrix(x), obs=cells(n_obs))


def backed(tmp_path, form="h5ad", adata=None) -> AnnData:
    return read(write(numbered() if adata is None else adata, tmp_path / f"a.{form}"), backed=True)


def who(batch) -> list[int]:
    return [int(x) - 1 for x in dense(batch.counts[0])[:, 0]]


def epoch(batches) -> list[list[int]]:
    return [who(batch) for batch in batches]


def flat(lists) -> list[int]:
    return [cell for one in lists for cell in one]


# --- what a minibatch holds ----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["memory", "disk", "shards"])
def test_a_minibatch_is_the_rows_and_codes_of_its_cells(tmp_path, place):
    adata = numbered() if place == "memory" else backed(tmp_path)
    inputs = prepare(adata, KEYS)
    budget = TINY if place == "shards" else None
    true_x, obs = numbered().X.toarray(), numbered().obs
    loader = Minibatches(
        inputs,
        EVERY[20:],
        16,
        shuffle=True,
        memory_budget=budget,
        generator=torch.Generator().manual_seed(1),
    )
    assert loader.is_resident == (place != "shards")
    for batch in loader:
        at = who(batch)
        np.testing.assert_array_equal(dense(batch.counts[0]), true_x[at])
        here = obs.iloc[at]
        embryo = here["embryo"].cat.codes.to_numpy()
        well = (here["pcr_well"] == "w1").to_numpy().astype(int)
        experiment = here["experiment"].str[1].astype(int).to_numpy() - 1
        lane = here["lane"].to_numpy() - 1
        # Tables of several keys stand on top of each other: 3 embryos, then 2 wells.
        np.testing.assert_array_equal(batch.ambient, np.column_stack([embryo, 3 + well]))
        np.testing.assert_array_equal(batch.conditioning, np.column_stack([experiment, 4 + lane]))
        np.testing.assert_array_equal(batch.scaling, batch.conditioning)
        assert batch.encoder.shape == (len(at), 0)
        np.testing.assert_array_equal(batch.dispersion, embryo)
        np.testing.assert_array_equal(batch.library, well)
        np.testing.assert_array_equal(batch.batch, np.zeros(len(at)))
        np.testing.assert_allclose(batch.continuous[:, 0], here["age"], rtol=1e-6)
        np.testing.assert_allclose(batch.log_size_factor, np.log(here["size"]), rtol=1e-6)
        np.testing.assert_allclose(batch.log_totals[0], np.log(true_x[at].sum(1)), rtol=1e-6)
        assert batch.present == (None,)
        assert batch.ambient.dtype == batch.library.dtype == torch.int64
        assert len(batch) == len(at)


def test_in_memory_no_count_is_copied():
    inputs = prepare(tissue(), KeysConfig(batch_key="embryo"))
    for batch in Minibatches(inputs, EVERY, 32, shuffle=True):
        (rows,) = batch.counts
        assert isinstance(rows, CountRows)
        assert rows.csr is inputs.modalities[0].counts.csr
        assert len(rows) == len(batch)


def test_a_mask_where_a_cell_was_not_measured():
    inputs = prepare_mudata(multiome(), KeysConfig(batch_key="well"))
    rna, atac = inputs.modalities
    for batch in Minibatches(inputs, EVERY, 50):
        assert batch.present[0].shape == (len(batch),)
        for mask, part in zip(batch.present, batch.counts, strict=True):
            np.testing.assert_array_equal(mask, dense(part).any(1))
    both = np.flatnonzero(rna.present & atac.present)
    assert batch_of(inputs, both).present == (None, None)
    some = np.flatnonzero(rna.present)
    assert batch_of(inputs, some).present[0] is None
    np.testing.assert_array_equal(batch_of(inputs, some).present[1], atac.present[some])


def test_one_given_set_of_cells(tmp_path):
    at = np.array([7, 3, 110, 3])
    for adata in (numbered(), backed(tmp_path)):
        batch = batch_of(prepare(adata, KEYS), at)
        assert who(batch) == list(at)
        np.testing.assert_array_equal(
            batch.dispersion, numbered().obs["embryo"].cat.codes.to_numpy()[at]
        )


# --- each cell once, in an order -----------------------------------------------------------------


@pytest.mark.parametrize("form", ["memory", "h5ad", "zarr"])
@pytest.mark.parametrize("budget", [None, TINY, 1])
def test_each_cell_is_seen_once_an_epoch(tmp_path, form, budget):
    adata = numbered() if form == "memory" else backed(tmp_path, form)
    chosen = np.random.default_rng(5).permutation(N_OBS)[:101]
    loader = Minibatches(
        prepare(adata, KEYS),
        chosen,
        16,
        shuffle=True,
        memory_budget=budget,
        generator=torch.Generator().manual_seed(0),
    )
    first, second = epoch(loader), epoch(loader)
    for seen in (first, second):
        assert sorted(flat(seen)) == sorted(chosen)
        assert len(seen) == len(loader) == 7
        assert sorted(map(len, seen)) == [5, *[16] * 6]
    assert first != second
    for batch in first:
        assert batch != sorted(batch)


@pytest.mark.parametrize("budget", [None, TINY])
def test_without_shuffling_cells_come_as_given(tmp_path, budget):
    chosen = np.random.default_rng(5).permutation(N_OBS)[:100]
    loader = Minibatches(prepare(backed(tmp_path), KEYS), chosen, 16, memory_budget=budget)
    assert loader.is_resident == (budget is None)
    assert flat(epoch(loader)) == list(chosen)
    assert flat(epoch(loader)) == list(chosen)


@pytest.mark.parametrize("budget", [None, TINY])
def test_the_same_seed_gives_the_same_order(tmp_path, budget):
    inputs = prepare(backed(tmp_path), KEYS)

    def orders(seed, *, broken_off=False):
        generator = torch.Generator().manual_seed(seed)
        loader = Minibatches(
            inputs, EVERY, 16, shuffle=True, memory_budget=budget, generator=generator
        )
        if broken_off:
            next(iter(loader))
        else:
            epoch(loader)
        return epoch(loader)

    assert orders(0) == orders(0)
    assert orders(0) != orders(1)
    assert orders(0, broken_off=True) == orders(0)  # an epoch is one draw, however far it went


def test_minibatches_from_disk_are_those_from_memory(tmp_path):
    """The same cells in the same rows: what is drawn by row, as dropout is, is the same, too."""
    orders = [
        Minibatches(
            prepare(adata, KEYS),
            EVERY[::-3],
            8,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
        )
        for adata in (numbered(), backed(tmp_path))
    ]
    for held, read_in in zip(*orders, strict=True):
        np.testing.assert_array_equal(held.counts[0].at, read_in.counts[0].at)
        np.testing.assert_array_equal(dense(held.counts[0]), dense(read_in.counts[0]))
        np.testing.assert_array_equal(held.ambient, read_in.ambient)


@pytest.mark.parametrize("budget", [None, TINY])
def test_what_is_not_full_may_be_left_out(tmp_path, budget):
    inputs = prepare(backed(tmp_path), KEYS)
    loader = Minibatches(
        inputs, EVERY[:101], 16, shuffle=True, memory_budget=budget, drop_last=True
    )
    seen = epoch(loader)
    assert [len(batch) for batch in seen] == [16] * 6
    assert len(loader) == 6
    assert len(set(flat(seen))) == 96
    assert epoch(Minibatches(inputs, EVERY[:5], 16, drop_last=True)) == []
    assert epoch(Minibatches(inputs, EVERY[:0], 16, memory_budget=0)) == []


def test_shards_are_shuffled_and_mixed(tmp_path):
    """A minibatch comes from several places of the file, and every place comes in each epoch."""
    adata = numbered(2000)
    inputs = prepare(backed(tmp_path, adata=adata), KEYS)
    loader = Minibatches(
        inputs,
        np.arange(2000),
        10,
        shuffle=True,
        memory_budget=32_000,
        generator=torch.Generator().manual_seed(0),
    )
    assert not loader.is_resident
    first = epoch(loader)
    spread = np.mean([np.ptp(batch) for batch in first])
    assert spread > 500  # of 2000: random cells of a pool of four shards out of some thirty
    starts = [flat(epoch(loader))[0] for _ in range(5)]
    assert len(set(starts)) == 5


# --- memory --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """20,000 cells on disk, 24 MB of counts as they are held in memory."""
    rng = np.random.default_rng(0)
    n_obs, n_vars, per_cell = 20_000, 500, 150
    columns = np.sort(rng.random((50, n_vars)).argsort(axis=1)[:, :per_cell], axis=1)
    indices = columns[rng.integers(0, 50, n_obs)].astype(np.int32)
    data = rng.integers(1, 9, (n_obs, per_cell)).astype(np.float32)
    x = csr_matrix(
        (data.ravel(), indices.ravel(), np.arange(n_obs + 1) * per_cell), shape=(n_obs, n_vars)
    )
    path = tmp_path_factory.mktemp("large") / "a.h5ad"
    write(AnnData(x, obs=cells(n_obs)), path)
    return prepare(read(path, backed=True), KeysConfig(batch_key="embryo"))


@pytest.mark.parametrize("shuffle", [True, False])
def test_never_more_than_the_budget_in_memory(large, shuffle):
    budget = 8_000_000
    chosen = np.random.default_rng(1).permutation(20_000)[:18_000]
    loader = Minibatches(
        large, chosen if shuffle else np.sort(chosen), 128, shuffle=shuffle, memory_budget=budget
    )
    assert not loader.is_resident
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        n_seen = sum(len(batch) for batch in loader)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert n_seen == 18_000
    assert peak < budget
    assert peak > budget / 8  # and it is made use of


def test_what_fits_is_read_once(large, monkeypatch):
    reads = []
    original = BackedCounts._read
    monkeypatch.setattr(
        BackedCounts,
        "_read",
        lambda self, first, last: reads.append((first, last)) or original(self, first, last),
    )
    loader = Minibatches(large, np.arange(5000), 128, shuffle=True, memory_budget=10_000_000)
    assert loader.is_resident
    for _ in range(3):
        assert sum(len(batch) for batch in loader) == 5000
    assert reads == [(0, 5000)]
    watched = Minibatches(large, np.arange(20_000), 128, memory_budget=10**9)
    steps = list(watched.load_job())
    assert steps[-1].fraction == 1
    n_read = len(reads)
    assert sum(len(batch) for batch in watched) == 20_000
    assert len(reads) == n_read
    assert list(watched.load_job()) == []


def test_an_epoch_that_is_broken_off_leaves_no_thread(large):
    loader = Minibatches(large, np.arange(20_000), 128, memory_budget=4_000_000)
    iteration = iter(loader)
    next(iteration)
    iteration.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("counts")]


def test_what_is_no_count_is_told_while_shards_are_read(tmp_path):
    inputs = prepare(numbered(), KEYS)
    spoilt = numbered()
    spoilt.X.data[200] = 0.5
    on_disk = counts_of(backed(tmp_path, adata=spoilt).X)
    inputs = replace(inputs, modalities=(replace(inputs.modalities[0], counts=on_disk),))
    loader = Minibatches(inputs, EVERY, 16, memory_budget=TINY)
    with pytest.raises(DataError, match=r"holds 0\.5, which is not a raw count"):
        epoch(loader)


def test_a_budget_is_half_of_what_is_free():
    assert 1 << 26 < default_budget("cpu") < 1 << 50


# --- other devices -------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [DeviceStore, DenseStore])
def test_a_device_makes_minibatches_dense(store):
    true = counts()
    true[5] = 0
    csr = prepare(tissue(), KEYS).modalities[0].counts.csr
    csr = take_rows(csr, np.where(EVERY == 5, -1, EVERY))
    at = np.random.default_rng(0).permutation(N_OBS)
    part = store(csr, "cpu").pool(at)
    for start, stop in ((0, 1), (3, 50), (50, 120), (7, 7)):
        got = part(start, stop)
        assert got.dtype == torch.float32
        np.testing.assert_array_equal(got, true[at[start:stop]])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("budget", [None, 5000, TINY])
def test_minibatches_on_a_gpu(budget):
    inputs = prepare(numbered(), KEYS)
    loader = Minibatches(
        inputs, EVERY, 16, device="cuda", shuffle=True, memory_budget=budget,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    x = numbered().X.toarray()
    seen = []
    for batch in loader:
        assert batch.counts[0].is_cuda
        assert batch.ambient.is_cuda
        at = who(batch)
        np.testing.assert_array_equal(dense(batch.counts[0]), x[at])
        seen += at
    assert sorted(seen) == list(EVERY)


# --- cost ----------------------------------------------------------------------------------------


def test_a_minibatch_costs_tens_of_microseconds():
    n_obs = 100_000
    x = csr_matrix((np.ones(n_obs, np.float32), np.zeros(n_obs, np.int32), np.arange(n_obs + 1)))
    inputs = prepare(AnnData(x, obs=cells(n_obs)), KEYS)
    loader = Minibatches(inputs, np.arange(n_obs), 128, shuffle=True)
    spent = []
    for _ in range(3):
        start = time.process_time()
        for _batch in loader:
            pass
        spent.append((time.process_time() - start) / len(loader))
    assert min(spent) < 100e-6  # measured: 30 µs
