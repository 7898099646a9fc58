"""LSD.stream_lines: the model's own field, drawn on what the data set holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_model_cases import line, small_config
from matplotlib.colors import to_hex

from celldyn.data.palette import PALETTE
from celldyn.errors import ConfigError, DataError, MissingKeyError, NotFittedError
from celldyn.jobs import run
from celldyn.landscape import boltzmann_transitions, project_transitions, project_velocity
from celldyn.landscape.lsd import LSD


def prepared():
    adata = line(200)
    rng = np.random.default_rng(0)
    adata.obsm["X_band"] = np.column_stack(
        [3 * adata.obs["time"], rng.normal(scale=0.1, size=200)]
    )
    adata.obsm["spatial"] = 100 * rng.uniform(size=(200, 2))
    lsd = LSD(adata, small_config(), device="cpu")
    lsd.set_prior_transition(prior_time_key="time")
    lsd.prepare_walks()
    return lsd


@pytest.fixture(scope="module")
def trained():
    lsd = prepared()
    lsd.train(num_epochs=2)
    return lsd


def test_arrows_are_those_of_the_learned_field(trained):
    flow = run(trained.stream_lines_job("X_band"), bar=False)
    states = run(trained.states_job(), bar=False)
    with torch.no_grad():
        downhill = -trained.potential.gradient(torch.from_numpy(states.z)).numpy()
    band, graph = trained.adata.obsm["X_band"], trained.adata.obsp["connectivities"]
    np.testing.assert_allclose(
        flow.arrows, project_velocity(states.z, downhill, band, graph), atol=1e-9
    )
    assert flow.embedding == "X_band"
    np.testing.assert_array_equal(flow.places, band)
    assert all(line.shape[1] == 2 for line in flow.streams.lines)


def test_transitions_are_an_option(trained):
    flow = run(trained.stream_lines_job("band", method="transitions"), bar=False)
    V = run(trained.states_job(), bar=False).V
    P = boltzmann_transitions(trained.adata.obsp["connectivities"], V)
    np.testing.assert_allclose(
        flow.arrows, project_transitions(P, trained.adata.obsm["X_band"]), atol=1e-12
    )


def test_the_figure_has_the_cells_in_their_colours_and_is_saved(trained, tmp_path):
    axes = trained.stream_lines("X_band", color="clusters", save=tmp_path / "flow.png")
    dots = axes.collections[0]
    assert len(dots.get_offsets()) == 200
    assert {to_hex(colour) for colour in dots.get_facecolors()} == set(PALETTE[:2])
    assert axes.get_title() == "clusters"
    assert (tmp_path / "flow.png").stat().st_size > 5000
    with pytest.raises(ConfigError, match="cannot be saved as flow"):
        trained.stream_lines("X_band", save=tmp_path / "flow.jpg")


def test_what_the_model_knows_colours_cells_and_the_tissue_grows_downwards(trained):
    axes = trained.stream_lines("spatial", color="potential", title="V")
    V = run(trained.states_job(), bar=False).V
    np.testing.assert_allclose(np.sort(axes.collections[0].get_array()), np.sort(V))
    assert axes.yaxis_inverted()
    assert axes.get_title() == "V"
    plain = trained.stream_lines("X_band", color=None, axes=axes)
    assert plain is axes


def test_what_is_not_there_is_a_sentence(trained):
    with pytest.raises(MissingKeyError, match="no embedding 'X_tsne' in obsm; there are"):
        trained.stream_lines("X_tsne")
    with pytest.raises(MissingKeyError, match="colour"):
        trained.stream_lines("X_band", color="colour")
    with pytest.raises(ConfigError, match="method 'guess' is not known"):
        trained.stream_lines("X_band", method="guess")
    with pytest.raises(DataError, match="has 50 cells, and the model 200"):
        trained.stream_lines("X_band", adata=trained.adata[:50])
    with pytest.raises(NotFittedError, match="call train first"):
        prepared().stream_lines("X_band")
