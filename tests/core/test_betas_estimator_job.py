"""The estimator and the job are one path; how the job tells where it stands."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, config, estimator, sections, tissue

from celldyn.betas import (
    fit_job,
    prepare,
)
from celldyn.jobs import run


@pytest.mark.parametrize("kind", ["lasso", "bayesian", "ard"])
@pytest.mark.parametrize("name", ["one/a", "two"])
def test_a_section_alone_gives_the_same_digits(name, kind):
    adata = sections()
    settings = config(section_key="section", heldout_folds=4, seed=5, estimator=kind)
    whole = run(fit_job(prepare(adata, settings, lr=PAIRS), settings), bar=False)
    at = (adata.obs["section"] == name).to_numpy()
    model = estimator(adata[at].copy())
    model.fit(num_epochs=0, pbar=False, seed=5, heldout_folds=4, estimator=kind)
    alone = model.get_betas()
    every = pd.DataFrame(whole.values[at], columns=whole.columns)
    np.testing.assert_array_equal(every[alone.columns], alone)
    missing = [column for column in every if column not in alone]
    assert missing == (["beta_Tf3"] if name == "one/a" else [])
    assert not every[missing].to_numpy().any()
    table = whole.score_table()
    table = table[table["section"] == name].set_index("cluster")
    for label, score in model.heldout_scores.items():
        assert table.loc[str(label), "heldout_r2"] == score
        assert table.loc[str(label), "r2"] == model.scores[label]


def test_starmap_section_alone_gives_the_same_digits(starmap_path):
    adata = ad.read_h5ad(starmap_path)
    names = ["fos", "egr1", "junb", "cux2", "rorb", "tbr1"]
    pairs = pd.DataFrame({"ligand": ["SST", "NPY", "BDNF"], "receptor": ["Tacr1", "QRFPR", "X"]})
    settings = config(target_gene="Slc17a7", regulators=names, layer=None, section_key="batch",
                      cluster_annot="cell_type", heldout_folds=5, num_epochs=0)  # fmt: skip
    whole = run(fit_job(prepare(adata, settings, lr=pairs), settings), bar=False)
    assert list(whole.modulators) == [*names, "sst$tacr1", "npy$qrfpr"]
    at = (adata.obs["batch"] == "BZ1").to_numpy()
    model = estimator(adata[at].copy(), "slc17a7", regulators=names, layer=None, lr=pairs,
                      cluster_annot="cell_type")  # fmt: skip
    model.fit(num_epochs=0, pbar=False)
    every = pd.DataFrame(whole.values[at], columns=whole.columns)
    np.testing.assert_array_equal(every[model.get_betas().columns], model.get_betas())
    assert len(whole.fits) == 48


def test_estimator_with_sections_names_scores_by_section():
    model = estimator(sections(), section_key="section")
    model.fit(num_epochs=0, pbar=False)
    assert ("one/a", 2) in model.scores
    assert model.train_df.shape == (480, 1 + len(model.modulators))
    np.testing.assert_array_equal(model.train_df["Tf3"], model.adata.to_df("imputed_count")["Tf3"])


def test_the_job_tells_how_it_stands_and_closes():
    adata = sections()
    settings = config(section_key="section", heldout_folds=3)
    seen = list(_drained(fit_job(prepare(adata, settings, lr=PAIRS), settings)))
    metrics = {key: value for step in seen for key, value in step.metrics.items()}
    assert set(metrics) >= {"r2/one/a · 2", "heldout/one/a · 2", "r2/two · 7"}
    done = [step.done for step in seen]
    assert done == sorted(done)
    assert not set(done) <= set(range(9))  # between two clusters it moves, too
    assert done[-1] == seen[-1].total == 8
    job = fit_job(prepare(adata, settings, lr=PAIRS), settings)
    next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)


def _drained(job):
    while True:
        try:
            yield next(job)
        except StopIteration:
            return


def test_a_foreign_progress_bar_is_told():
    class Bar:
        n = 0

        def update(self, n):
            self.n += n

    bar = Bar()
    estimator(tissue()).fit(num_epochs=0, pbar=bar, skip_clusters=[2])
    assert bar.n == 4
