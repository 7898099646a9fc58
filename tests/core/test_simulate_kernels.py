"""The compiled loops of the counts beside their numpy twins: the same to the last count."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from celldyn.jobs import run
from celldyn.simulate import negative_binomial
from celldyn.simulate.blocks import MeansDraw, StrataDraw
from celldyn.simulate.count_kernels import HARD, draw_means
from celldyn.simulate.counts import sample_means_job, sample_strata_job
from celldyn.simulate.inversion import FAR_TAIL, SUMMED_MEAN
from celldyn.simulate.size_bins import SizeBins
from celldyn.simulate.strata import Strata
from celldyn.simulate.streams import hash_bits, name_ids, spread, stream_key, unit_interval

MEANS = [0.0, 1e-9, 0.02, 0.3, 1.0, 5.0, 23.9, 24.1, 900.0, 1e5, 3e9]
THETAS = [1e-4, 0.03, 1.0, 4.0, 1e6]
N_CELLS = 3000


@pytest.fixture(scope="module")
def names():
    return [f"gene_{i}" for i in range(len(MEANS) * len(THETAS))]


@pytest.fixture(scope="module")
def ids(names):
    """Cells, among them 20 whose noise for one gene lies in the far tail."""
    many = np.arange(8_000_000)
    far = unit_interval(hash_bits(stream_key(0, "counts"), many, name_ids(names)[14])) < FAR_TAIL
    assert far.sum() >= 3
    return np.concatenate([np.flatnonzero(far)[:20], np.arange(N_CELLS)])


@pytest.fixture(scope="module")
def strata(ids):
    mean, theta = (a.ravel() for a in np.meshgrid(MEANS, THETAS, indexing="ij"))
    rng = np.random.default_rng(0)
    scale = rng.lognormal(0, 0.5, ids.size)
    scale[[30, 31, 32]] = [0.0, 1e-12, 60.0]
    of = rng.integers(0, 3, ids.size)
    return Strata(np.outer([1.0, 0.4, 1.1], mean), np.tile(theta, (3, 1)), of, scale)


def test_cells_in_strata(strata, ids, names):
    cells, genes = spread(ids.astype(np.uint64), stream_key(0, "counts")), spread(name_ids(names))
    draw = StrataDraw(strata, SizeBins.of_strata(strata), cells, genes)
    for rows in (slice(0, ids.size), slice(17, 1234), slice(40, 41)):
        plain, compiled = draw.plain(rows), draw.compiled(rows)
        for what in ("per_row", "column", "count"):
            np.testing.assert_array_equal(getattr(compiled, what), getattr(plain, what))
            assert getattr(compiled, what).dtype == getattr(plain, what).dtype


def test_the_far_tail_and_long_sums_are_left_to_numpy(strata, ids, names):
    """What is compared above holds elements of every kind."""
    cells, genes = spread(ids.astype(np.uint64), stream_key(0, "counts")), spread(name_ids(names))
    mean = strata.mu[strata.of] * strata.scale[:, None]
    theta = strata.theta[strata.of]
    size = mean.size
    column, count = np.empty(size, np.int32), np.empty(size, np.int32)
    per_row, tail = np.empty(ids.size, np.int32), np.empty(size)
    found, n_hard = draw_means(cells, genes, mean, theta, per_row, column, count, tail)
    row = np.repeat(np.arange(ids.size), per_row)
    count, tail, mean = count[:found], tail[:found], mean[row, column[:found]]
    assert n_hard == (count == HARD).sum()
    assert (tail[count == HARD] < FAR_TAIL).any()
    assert (mean[count == HARD] > SUMMED_MEAN).any()
    assert ((count == HARD) & (tail >= FAR_TAIL) & (mean <= SUMMED_MEAN)).any()
    assert (count[(mean <= SUMMED_MEAN) & (tail > 0.01)] > 0).mean() > 0.5


def test_cells_with_means_of_their_own(strata, ids, names):
    cells, genes = spread(ids.astype(np.uint64), stream_key(0, "counts")), spread(name_ids(names))
    for theta in (strata.theta[strata.of], strata.theta[:1]):

        def block(rows, theta=theta):
            own = theta[rows] if len(theta) > 1 else theta
            return strata.mu[strata.of[rows]] * strata.scale[rows, None], own

        draw = MeansDraw(block, cells, genes)
        plain, compiled = draw.plain(slice(0, ids.size)), draw.compiled(slice(0, ids.size))
        for what in ("per_row", "column", "count"):
            np.testing.assert_array_equal(getattr(compiled, what), getattr(plain, what))


@pytest.mark.parametrize(("tile", "threads"), [(1_000, 1), (1_000, 2), (1 << 20, 2)])
def test_jobs_with_kernels_are_the_elements_themselves(
    strata, ids, names, tile, threads, monkeypatch
):
    common = {"cell_ids": ids, "threads": threads}
    monkeypatch.setattr("celldyn.simulate.counts._KERNEL_VALUES", 0)
    monkeypatch.setattr("celldyn.simulate.counts._TILE", tile)
    monkeypatch.setattr("celldyn.simulate.counts._MEANS_TILE", tile)
    drawn = run(sample_strata_job(strata, names, 0, **common), bar=False)

    def block(rows):
        of = strata.of[rows]
        return strata.mu[of] * strata.scale[rows, None], strata.theta[of]

    own = run(sample_means_job(block, ids.size, names, 0, **common), bar=False)
    alone = negative_binomial(
        strata.mu[strata.of],
        strata.theta[strata.of],
        strata.scale[:, None],
        0,
        cell=ids[:, None],
        gene=name_ids(names)[None, :],
    )
    np.testing.assert_array_equal(drawn.toarray(), alone)
    np.testing.assert_array_equal(own.toarray(), alone)


def test_many_cells_take_the_kernel_and_few_do_not():
    code = (
        "import sys, numpy as np;"
        "from celldyn.jobs import run;"
        "from celldyn.simulate.counts import sample_strata_job;"
        "from celldyn.simulate.strata import Strata;"
        "\ndef draw(n):"
        "\n    strata = Strata(np.ones((1, 50)), np.ones((1, 50)), np.zeros(n), np.ones(n))"
        "\n    names = [str(g) for g in range(50)]"
        "\n    run(sample_strata_job(strata, names, 0, cell_ids=np.arange(n)), bar=False)"
        "\ndraw(10_000)"
        "\nassert 'numba' not in sys.modules"
        "\ndraw(500_000)"
        "\nassert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bins_bound_every_cell(strata):
    bins = SizeBins.of_strata(strata)
    assert (bins.smallest[bins.of] <= strata.scale).all()
    assert (bins.largest[bins.of] >= strata.scale).all()
    assert (np.diff(bins.levels.astype(float), axis=3) <= 1e-6).all()
    assert (bins.levels[:, :, 0] > bins.levels[:, :, 1]).all()
