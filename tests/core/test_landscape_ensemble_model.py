"""Several LSD models of different seeds, asked together."""

from __future__ import annotations

import numpy as np
import pytest
from landscape_model_cases import line, small_config

from celldyn.errors import ConfigError, FileFormatError, NotFittedError
from celldyn.jobs import run
from celldyn.landscape import LSD, LSDEnsemble
from celldyn.landscape.perturbing.config import PerturbConfig
from celldyn.perturbation import Perturbation


@pytest.fixture(scope="module")
def ensemble():
    found = LSDEnsemble(line(), small_config(), "cpu", seeds=3)
    found.set_prior_transition(prior_time_key="time")
    found.prepare_walks()
    found.train(3)
    return found


def _parameters(model):
    return np.concatenate([p.detach().numpy().ravel() for p in model.networks.parameters()])


def test_models_share_data_and_chances_and_nothing_else(ensemble):
    first, second, third = ensemble.models
    assert ensemble.seeds == (42, 43, 44)
    assert first._inputs is second._inputs is third._inputs
    assert first.P is second.P
    assert (first.walks != second.walks).any()
    assert (_parameters(first) != _parameters(second)).any()
    assert (_parameters(second) != _parameters(third)).any()
    assert ensemble.is_trained
    assert ensemble.history.index.get_level_values("seed").unique().tolist() == [42, 43, 44]
    assert [model.cfg.walks.random_state for model in ensemble.models] == [42, 43, 44]


def test_fates_are_pooled_and_written(ensemble):
    result = ensemble.get_cell_fates(cluster_key="clusters", n_runs=8, time_range=2.0)
    pooled = ensemble.fates
    np.testing.assert_array_equal(result.obs["fate"].astype(str), pooled.fates.fate)
    np.testing.assert_allclose(result.obs["fate_agreement"], pooled.agreement, rtol=1e-6)
    assert pooled.fates.n_votes == 24
    assert pooled.by_seed.shape == (3, 120)
    assert not (result.obs["fate_certain"] & (result.obs["fate_agreement"] < 1)).any()
    single = ensemble.models[1].fates
    assert single.n_votes == 8
    with pytest.raises(ConfigError, match="not one path"):
        ensemble.get_cell_fates(cluster_key="clusters", return_paths=True)


def test_pseudotime_is_the_consensus(ensemble):
    result = ensemble.get_adata()
    by_model = [model.get_adata().obs["lsd_pseudotime"] for model in ensemble.models]
    ranks = [np.argsort(np.argsort(time)) for time in by_model]
    together = np.corrcoef(result.obs["lsd_pseudotime"], np.mean(ranks, axis=0))[0, 1]
    assert together > 0.97
    assert result.obs["lsd_pseudotime_spread"].between(0, 0.6).all()
    told = ensemble.entropy()
    assert told.consensus.correlation.shape == (3, 3)
    assert told.note


def test_effects_are_pooled(ensemble):
    change = Perturbation.set_to({ensemble.models[0].genes[0]: 0.0})
    config = PerturbConfig(n_runs=4, time=1.0, sigma=0.3, n_null=0)
    found = ensemble.perturb_effects(change, config=config, cells=np.arange(30))
    single = [one.effect for one in found.by_seed]
    np.testing.assert_allclose(found.effect, np.mean(single, axis=0), atol=1e-12)
    assert (found.low <= found.effect).all()
    assert (found.effect <= found.high).all()
    assert set(found.sign_agreement) <= {1 / 3, 2 / 3, 1.0, 0.0}
    assert found.agreement.shape == (30,)
    assert found.fates()["effect"].is_monotonic_decreasing


def test_perturb_takes_what_most_models_say(ensemble):
    adata = ensemble.adata
    x = adata.X[:20].toarray()
    how = {"max_perturbations": 2, "t_unpert": 1.0}
    perturbed, control = ensemble.perturb(adata, x, "1", "clusters", 0, **how)
    by_model = [model.perturb(adata, x, "1", "clusters", 0, **how) for model in ensemble.models]
    late = sum((np.asarray(one[0]) == "late").astype(int) for one in by_model)
    np.testing.assert_array_equal(np.asarray(perturbed) == "late", late >= 2)
    assert len(control) == 20


def test_an_ensemble_comes_back_from_disk(ensemble, tmp_path):
    (tmp_path / "lsd_seed_7.safetensors").write_bytes(b"left over of another ensemble")
    ensemble.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    again = LSDEnsemble.load(tmp_path, ensemble.adata, "cpu")
    assert again.seeds == ensemble.seeds
    for old, new in zip(ensemble.models, again.models, strict=True):
        np.testing.assert_array_equal(_parameters(old), _parameters(new))
    how = {"cluster_key": "clusters", "n_runs": 4, "time_range": 1.0, "sigma": 0.2}
    first, second = (one.get_cell_fates(**how) for one in (ensemble, again))
    np.testing.assert_array_equal(
        first.obsm["fate_probabilities"], second.obsm["fate_probabilities"]
    )
    again.train(1)
    assert [model.epoch for model in again.models] == [4, 4, 4]


def test_a_folder_without_an_ensemble_is_refused(tmp_path, ensemble):
    with pytest.raises(FileFormatError, match="holds 0 models"):
        LSDEnsemble.load(tmp_path, ensemble.adata)


@pytest.mark.parametrize("seeds", [1, [3], [3, 3], []])
def test_one_seed_is_no_ensemble(seeds):
    with pytest.raises(ConfigError, match="give two or more different seeds"):
        LSDEnsemble(line(), small_config(), "cpu", seeds=seeds)


def test_an_ensemble_that_is_not_trained_says_so():
    ensemble = LSDEnsemble(line(), small_config(), "cpu", seeds=[5, 9])
    assert not ensemble.is_trained
    with pytest.raises(NotFittedError):
        ensemble.get_cell_fates(cluster_key="clusters")


def test_sigma_of_short_walks_is_read_off_longer_ones():
    lsd = LSD(line(), small_config(), "cpu")
    lsd.set_prior_transition(prior_time_key="time")
    lsd.prepare_walks(path_len=3)
    lsd.train(1)
    found = run(lsd.sigma_job(), bar=False)
    # Two steps took the whole of time in training; of twenty cells a walk takes 19 / 2.
    np.testing.assert_allclose(np.diff(found.times), 0.5)
    lsd.walks, lsd.P = None, None
    with pytest.raises(NotFittedError, match="read off walks"):
        run(lsd.sigma_job(), bar=False)
