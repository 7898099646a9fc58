"""Which molecules leak and how far: union rule, truncated exponential, the seed's functions."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from celldyn.errors import DataError, MissingKeyError
from celldyn.simulate.molecules import (
    classify_leakage,
    counts_to_transcript_df,
    is_leaked,
    leak_distance,
    leak_probability,
)
from celldyn.simulate.streams import name_ids


def test_either_reason_suffices():
    np.testing.assert_allclose(leak_probability([0.1, 0.3, 0.0, 1.0], 0.2), [0.28, 0.44, 0.2, 1.0])
    np.testing.assert_array_equal(leak_probability(0.0, [0.0, 1.0]), [0.0, 1.0])


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
def test_a_probability_stays_in_its_bounds(wrong):
    with pytest.raises(DataError, match="p_gene"):
        leak_probability(0.1, wrong)
    with pytest.raises(DataError, match="p_celltype"):
        is_leaked([0.1, wrong], 0.2, 0)


def test_shares_of_leaked_molecules_are_the_probabilities():
    n = 200_000
    for p_celltype, share in ((0.1, 0.28), (0.3, 0.44)):
        leaked = is_leaked(np.full(n, p_celltype), 0.2, 7)
        assert abs(leaked.mean() - share) < 4.5 * np.sqrt(share * (1 - share) / n)
    assert not is_leaked(np.zeros(1000), 0.0, 7).any()
    assert is_leaked(np.ones(1000), 0.0, 7).all()


def test_a_larger_probability_takes_no_leak_back():
    few, more = (is_leaked(np.full(50_000, p), 0.0, 3) for p in (0.2, 0.3))
    assert not (few & ~more).any()
    assert more.sum() > few.sum()


def test_identity_alone_decides():
    cell, gene, number = np.arange(4000) % 50, name_ids(["a", "b"]).repeat(2000), np.arange(4000)
    whole = is_leaked(0.4, 0.1, 5, cell=cell, gene=gene, number=number)
    part = np.array([3999, 7, 1200])
    again = is_leaked(0.4, 0.1, 5, cell=cell[part], gene=gene[part], number=number[part])
    np.testing.assert_array_equal(again, whole[part])
    assert (is_leaked(0.4, 0.1, 6, cell=cell, gene=gene, number=number) != whole).any()


@pytest.mark.parametrize("coverage", [0.5, 0.97])
def test_distances_follow_the_truncated_exponential(coverage):
    area, factor = 80.0, 1.5
    far = factor * np.sqrt(area / np.pi)
    rate = -np.log(1 - coverage) / far
    distance = leak_distance(100_000, area, factor, coverage, 11)
    law = stats.truncexpon(b=rate * far, scale=1 / rate)
    assert distance.min() >= 0
    assert distance.max() <= far
    assert stats.kstest(distance, law.cdf).pvalue > 1e-3
    assert distance.mean() == pytest.approx(law.mean(), rel=0.01)
    if coverage == 0.97:
        assert distance.mean() / far == pytest.approx(0.2543, abs=0.002)


def test_a_distance_depends_on_its_cell_and_grows_with_it():
    area = np.array([20.0, 80.0, 320.0])
    distance = leak_distance(3, area, 1.0, 0.97, 2, cell=[4, 4, 4], gene=9, number=0)
    np.testing.assert_allclose(distance / distance[0], [1, 2, 4])
    np.testing.assert_array_equal(leak_distance(5, 50.0, 1.0, 0.97, 2)[:2],
                                  leak_distance(2, 50.0, 1.0, 0.97, 2))  # fmt: skip
    np.testing.assert_array_equal(leak_distance(2, 50.0, 0.0, 0.97, 2), 0)


@pytest.mark.parametrize("wrong", [{"area": -1.0}, {"factor": -0.1}, {"coverage": 1.0}])
def test_a_law_that_does_not_exist_is_refused(wrong):
    with pytest.raises(DataError, match="no law"):
        leak_distance(
            **({"n": 1, "area": 1.0, "factor": 1.0, "coverage": 0.97, "seed": 0} | wrong)
        )


@pytest.fixture
def tables():
    counts = np.array([[4000, 0, 3000], [0, 5000, 2000]])
    trs_df = counts_to_transcript_df(counts, ["left", "right"], ["a", "b", "c"])
    cell_gdf = pd.DataFrame({"cell_id": ["right", "left"], "leakage_percentage": [0.3, 0.1]})
    gpar_df = pd.DataFrame({"feature_name": ["a", "b", "c"], "gene_leakage": [0.0, 0.2, 0.2]})
    return trs_df, cell_gdf, gpar_df


def test_counts_become_one_row_per_molecule(tables):
    trs_df = tables[0]
    np.testing.assert_array_equal(trs_df["transcript_id"], np.arange(14_000))
    assert isinstance(trs_df["feature_name"].dtype, pd.CategoricalDtype)
    found = pd.crosstab(trs_df["cell_id"], trs_df["feature_name"])
    np.testing.assert_array_equal(found, [[4000, 0, 3000], [0, 5000, 2000]])
    same = counts_to_transcript_df(
        sparse.csr_matrix([[4000, 0, 3000], [0, 5000, 2000]]), ["left", "right"], ["a", "b", "c"]
    )
    pd.testing.assert_frame_equal(same, trs_df)


def test_counts_must_be_counts():
    with pytest.raises(DataError, match="fractions"):
        counts_to_transcript_df([[0.5]], [0], ["a"])
    with pytest.raises(DataError, match="cell_ids"):
        counts_to_transcript_df([[1]], [0, 1], ["a"])


@pytest.mark.parametrize("rng", [3, np.random.default_rng(3)])
def test_molecules_leak_for_their_cell_and_their_gene(tables, rng):
    trs_df, cell_gdf, gpar_df = tables
    trs_df["is_leaked"] = classify_leakage(trs_df, cell_gdf, gpar_df, rng)
    shares = trs_df.groupby(["cell_id", "feature_name"], observed=True)["is_leaked"].mean()
    expected = {
        ("left", "a"): 0.1,
        ("left", "c"): 0.28,
        ("right", "b"): 0.44,
        ("right", "c"): 0.44,
    }
    assert shares.to_dict().keys() == expected.keys()
    for pair, share in expected.items():
        assert shares[pair] == pytest.approx(share, abs=0.04)


def test_without_a_gene_table_only_cells_leak(tables):
    trs_df, cell_gdf, _ = tables
    leaked = classify_leakage(trs_df, cell_gdf.set_index("cell_id"), None, 1)
    shares = leaked[:7000].mean(), leaked[7000:].mean()
    np.testing.assert_allclose(shares, [0.1, 0.3], atol=0.025)


def test_rows_in_another_order_leak_the_same(tables):
    trs_df, cell_gdf, gpar_df = tables
    few = trs_df.groupby(["cell_id", "feature_name"], observed=True).head(1)
    whole = pd.Series(classify_leakage(trs_df, cell_gdf, gpar_df, 8), index=trs_df.index)
    part = classify_leakage(few.iloc[::-1], cell_gdf, gpar_df, 8)
    np.testing.assert_array_equal(part[::-1], whole[few.index])


def test_what_is_missing_is_named(tables):
    trs_df, cell_gdf, gpar_df = tables
    with pytest.raises(MissingKeyError, match="leakage_percentage"):
        classify_leakage(trs_df, cell_gdf[["cell_id"]], gpar_df)
    with pytest.raises(MissingKeyError, match="feature_name"):
        classify_leakage(trs_df[["cell_id"]], cell_gdf, gpar_df)
    with pytest.raises(MissingKeyError, match="left"):
        classify_leakage(trs_df, cell_gdf.iloc[:1], gpar_df)
    with pytest.raises(MissingKeyError, match="'c'"):
        classify_leakage(trs_df, cell_gdf, gpar_df.iloc[:2])
