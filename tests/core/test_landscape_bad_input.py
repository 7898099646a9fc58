"""What comes in from anywhere: a sentence that says what to do, or a result that is told."""

from __future__ import annotations

import numpy as np
import pytest
from landscape_input_cases import lsd_adata, small_config, trained_lsd
from scipy import sparse

from celldyn.errors import ConfigError, DataError, MissingKeyError, NotFittedError
from celldyn.landscape import LSD

TIME = "dpt_pseudotime"


def ready(adata=None):
    return LSD(lsd_adata() if adata is None else adata, small_config(), "cpu")


def trained(adata):
    """Train from the beginning to the end, and return what was found."""
    return trained_lsd(adata).get_adata()


def told(error):
    """The sentence, which has a remedy."""
    said = str(error.value)
    assert said.endswith(".")
    assert "; " in said
    return said


# --- pseudotime ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pseudotime_that_is_not_finite_names_the_cells(value):
    adata = lsd_adata()
    adata.obs.loc[["cell4", "cell9"], TIME] = value
    with pytest.raises(DataError, match="2 cells are without a finite pseudotime") as error:
        ready(adata).set_prior_transition(prior_time_key=TIME)
    assert "numbers 4, 9" in told(error) or "number 4" in told(error)


def test_constant_pseudotime_is_told():
    adata = lsd_adata()
    adata.obs[TIME] = 0.25
    with pytest.raises(DataError, match=r"pseudotime is 0\.25 in every cell") as error:
        ready(adata).set_prior_transition(prior_time_key=TIME)
    told(error)


@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (1e6, -3e5), (1e-9, 7.0)])
def test_pseudotime_in_any_unit_gives_the_same_landscape(scale, shift):
    adata = lsd_adata()
    other = lsd_adata()
    other.obs[TIME] = scale * other.obs[TIME] + shift
    np.testing.assert_allclose(
        trained(other).obs["potential"], trained(adata).obs["potential"], rtol=1e-4
    )


def test_pseudotime_that_is_no_number_is_told():
    with pytest.raises(DataError, match="pseudotime is not numbers") as error:
        ready().set_prior_transition(prior_time_key="clusters")
    told(error)


# --- the graph ----------------------------------------------------------------------------------


def cut(adata, cells):
    """Take all edges from some cells."""
    graph = adata.obsp["connectivities"].tolil()
    graph[cells, :] = 0
    graph[:, cells] = 0
    adata.obsp["connectivities"] = graph.tocsr()
    adata.obsp["connectivities"].eliminate_zeros()


def test_isolated_cells_are_named_or_may_rest():
    adata = lsd_adata()
    cut(adata, [4])
    lsd = ready(adata)
    assert any("1 cell without a neighbour" in note for note in lsd.notes)
    with pytest.raises(DataError, match=r"1 cell is without a neighbour .*number 4") as error:
        lsd.set_prior_transition(prior_time_key=TIME)
    assert "self_loop" in told(error)
    lsd.set_prior_transition(prior_time_key=TIME, self_loop=True)
    lsd.prepare_walks()
    lsd.train(1)
    found = lsd.get_adata()
    assert np.isfinite(found.obs["potential"]).all()
    assert found.obsp["transitions"][[4], [4]] == 1
    walks = lsd.walks[lsd.walks[:, 0] == 4]
    assert (walks == 4).all()


def test_a_graph_in_parts_is_told_and_no_walk_crosses():
    adata = lsd_adata()
    graph = adata.obsp["connectivities"].tolil()
    graph[:15, 15:] = 0
    graph[15:, :15] = 0
    adata.obsp["connectivities"] = graph.tocsr()
    lsd = trained_lsd(adata)
    assert any("falls into 2 parts" in note for note in lsd.notes)
    assert ((lsd.walks < 15) == (lsd.walks[:, :1] < 15)).all()
    found = lsd.get_adata()
    assert np.isfinite(found.obsm["X_cell_state"]).all()
    np.testing.assert_allclose(np.asarray(found.obsp["transitions"].sum(axis=1)).ravel(), 1)


def test_without_a_graph_own_chances_serve_and_transitions_are_left_out():
    adata = lsd_adata()
    graph = adata.obsp.pop("connectivities")
    lsd = ready(adata)
    with pytest.raises(MissingKeyError, match="no neighbour graph") as error:
        lsd.set_prior_transition(prior_time_key=TIME)
    told(error)
    lsd.set_prior_transition(graph)
    lsd.prepare_walks()
    lsd.train(1)
    assert "transitions" not in lsd.get_adata().obsp


# --- matrices -----------------------------------------------------------------------------------


def test_dense_and_sparse_give_the_same_landscape():
    found = [trained(lsd_adata(dense=dense)) for dense in (True, False)]
    assert isinstance(found[0].X, np.ndarray)
    assert sparse.issparse(found[1].X)
    np.testing.assert_array_equal(found[0].obsm["X_cell_state"], found[1].obsm["X_cell_state"])


def test_without_raw_counts_it_says_where_they_belong():
    adata = lsd_adata()
    del adata.layers["raw"]
    with pytest.raises(MissingKeyError, match="layer 'raw' with the raw counts") as error:
        ready(adata)
    assert "prepare" in told(error)


def test_counts_in_x_are_told_apart_from_logarithms():
    adata = lsd_adata()
    adata.X = adata.layers["raw"]
    with pytest.raises(DataError, match="X holds whole numbers") as error:
        ready(adata)
    assert "prepare" in told(error)


def test_cells_without_counts_and_genes_without_any_are_trained_with_the_others():
    adata = lsd_adata()
    raw, X = adata.layers["raw"].toarray(), adata.X.toarray()
    raw[4] = X[4] = 0
    raw[:, 5] = X[:, 5] = 0
    adata.layers["raw"], adata.X = raw, X
    found = trained(adata)
    assert np.isfinite(found.obsm["X_cell_state"]).all()
    assert np.isfinite(found.obs["potential"]).all()


# --- walks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path_len", [0, 1, -3])
def test_walks_of_less_than_two_cells_are_told(path_len):
    lsd = ready()
    with pytest.raises(ConfigError, match="path_len"):
        lsd.cfg.walks.path_len = path_len
    lsd.set_prior_transition(prior_time_key=TIME)
    with pytest.raises(ConfigError, match="path_len of 2 or more") as error:
        lsd.prepare_walks(path_len=path_len)
    told(error)
    assert lsd.walks is None


def test_more_walks_than_memory_are_told_before_any_is_drawn():
    lsd = ready()
    lsd.set_prior_transition(prior_time_key=TIME)
    with pytest.raises(ConfigError, match=r"take .* GB, and .* of memory are free") as error:
        lsd.prepare_walks(num_walks=10**9, path_len=10**4)
    assert "fewer walks" in told(error)
    assert lsd.walks is None


def test_the_shortest_walks_and_fewer_of_them_than_a_batch_train_too():
    lsd = ready()
    lsd.set_prior_transition(prior_time_key=TIME)
    lsd.prepare_walks(num_walks=3, path_len=2)
    lsd.train(2)
    assert np.isfinite(lsd.get_adata().obs["potential"]).all()


# --- the order of calls -------------------------------------------------------------------------


def test_calls_in_the_wrong_order_say_what_comes_first():
    lsd = ready()
    with pytest.raises(NotFittedError, match="set_prior_transition first"):
        lsd.prepare_walks()
    lsd.set_prior_transition(prior_time_key=TIME)
    with pytest.raises(NotFittedError, match="prepare_walks first"):
        lsd.train(1)
    lsd.prepare_walks()
    with pytest.raises(NotFittedError, match="call train first"):
        lsd.get_adata()
    with pytest.raises(ConfigError, match="one thing to go by"):
        lsd.set_prior_transition()


# --- training that fails ------------------------------------------------------------------------


def test_nan_in_training_names_the_step_and_keeps_the_last_good_state():
    import torch

    lsd = trained_lsd()
    before = {name: value.clone() for name, value in lsd.networks.state_dict().items()}
    lsd.cfg.optimizer.adam.lr = lsd.cfg.optimizer.adam.eta_min = 10.0
    lsd.cfg.optimizer.adam.clip_norm = 1e9
    raw = lsd._inputs.counts

    class Broken:
        """Counts that are not numbers in the third epoch."""

        def __init__(self, inputs):
            self._inputs = inputs

        def __getattr__(self, name):
            return getattr(self._inputs, name)

        def to(self, device):
            return self

        def counts(self, cells):
            return raw(cells) * float("nan")

    lsd._inputs = Broken(lsd._inputs)
    with pytest.raises(DataError, match=r"not a number any more in step 1 of 2 of epoch 3") as e:
        lsd.train(1)
    assert "smaller lr" in told(e)
    assert lsd.epoch == 2
    for name, value in lsd.networks.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert np.isfinite(lsd.get_adata().obs["potential"]).all()
