"""Figures of betas and perturbations: what is drawn is what was computed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, config, sections
from matplotlib.colors import to_hex
from perturb_cases import fields_of, tissue

from celldyn.betas import (
    PerturbConfig,
    fit_job,
    grid_vectors,
    perturb_job,
    prepare,
    prepare_perturb,
    prepare_screen,
    screen_job,
)
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import run
from celldyn.perturbation import Perturbation
from celldyn.plots import betas_maps, betas_perturb
from celldyn.plots.betas_style import symmetric_limit, tissue_maps


@pytest.fixture(scope="module")
def perturbed():
    adata, model = tissue()
    scores = {"C": 0.5, "D": 0.01, "E": 0.5, "La": 0.5, "Ra": 0.5}
    config = PerturbConfig()
    inputs = prepare_perturb(
        adata,
        Perturbation.knock_out("A"),
        config,
        fields=fields_of(adata),
        model=model,
        heldout_r2=scores,
    )
    return adata, run(perturb_job(inputs, config), bar=False)


@pytest.fixture(scope="module")
def fitted():
    adata = sections()
    options = config(section_key="section", cluster_annot="type", score_threshold=0.0)
    return adata, run(fit_job(prepare(adata, options, lr=PAIRS), options), bar=False)


@pytest.mark.parametrize("measure", ["mean", "relative"])
def test_bars_are_the_effects(perturbed, measure):
    _, result = perturbed
    figure = betas_perturb.effect_bars(result, n_genes=4, measure=measure)
    genes = list(result.top(4)["gene"])
    table = result.effects().set_index(["cluster", "gene"])
    assert len(figure.axes) == 3
    for axes, cluster in zip(figure.axes, "xyz", strict=True):
        assert [label.get_text() for label in axes.get_yticklabels()] == genes
        for bar, gene in zip(axes.patches, genes, strict=True):
            value = table.loc[(cluster, gene), measure]
            assert bar.get_width() == pytest.approx(value)
            assert to_hex(bar.get_facecolor()) == ("#b2182b" if value > 0 else "#2166ac")
            assert (bar.get_alpha() < 1) == (gene == "D")
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    with pytest.raises(ConfigError, match="no gene changes"):
        betas_perturb.effect_bars(result, genes=["nothing"])


def test_maps_of_change_have_one_symmetric_scale(perturbed):
    adata, result = perturbed
    figure = betas_perturb.delta_map(adata.obsm["spatial"], result, ["C", "E"])
    reach = symmetric_limit(np.concatenate([result.of("C"), result.of("E")]))
    for axes, gene in zip(figure.axes, ["C", "E"], strict=False):
        dots = axes.collections[0]
        assert dots.get_clim() == (-reach, reach)
        assert sorted(dots.get_array()) == pytest.approx(sorted(result.of(gene)))
        # Each dot has the colour value of the cell that lies there.
        cells = zip(adata.obsm["spatial"], result.of(gene), strict=True)
        of_place = {tuple(xy): value for xy, value in cells}
        for place, value in zip(dots.get_offsets(), dots.get_array(), strict=True):
            assert of_place[tuple(place)] == pytest.approx(value)
        assert axes.yaxis_inverted()
    whole = betas_perturb.delta_map(adata.obsm["spatial"], result)
    assert whole.axes[0].collections[0].get_clim()[0] == 0
    with pytest.raises(DataError, match="one value per cell"):
        tissue_maps(adata.obsm["spatial"], [np.ones(3)], ["x"], label="x")


def test_arrows_and_their_key_have_the_scale_of_the_grid(perturbed):
    adata, _ = perturbed
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(adata.n_obs, 2))
    grid = grid_vectors(embedding, rng.normal(0, 0.3, embedding.shape), n_boxes=6)
    figure = betas_perturb.arrow_map(embedding, grid, labels=adata.obs["type"], title="KO")
    axes = figure.axes[0]
    quiver = next(item for item in axes.collections if hasattr(item, "U"))
    moves = np.linalg.norm(grid.vectors, axis=1) > 0
    np.testing.assert_allclose(np.column_stack((quiver.U, quiver.V)), grid.vectors[moves])
    np.testing.assert_allclose(quiver.XY, grid.points[moves])
    key = next(item for item in axes.get_children() if type(item).__name__ == "QuiverKey")
    said = float(key.label.rsplit(" ", 1)[1])
    assert pytest.approx(said * grid.scale) == key.U
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "y", "z"]
    still = grid_vectors(embedding, 0 * embedding)
    assert not [
        item
        for item in betas_perturb.arrow_map(embedding, still).axes[0].collections
        if hasattr(item, "U")
    ]


@pytest.mark.parametrize("value", [0.3, 1.0, 7.0, 49.0, 2e-4])
def test_keys_are_round_numbers(value):
    shown = betas_perturb._round_number(value)
    assert shown <= value * (1 + 1e-9)
    assert shown > value / 2.6
    assert f"{shown:e}"[0] in "125"


def test_a_screen_is_its_matrix():
    adata, model = tissue()
    config = PerturbConfig()
    inputs = prepare_screen(adata, config, fields=fields_of(adata), model=model)
    result = run(screen_job(inputs, config), bar=False)
    for measure in ("impact", "signed"):
        figure = betas_perturb.screen_map(result, n_genes=5, measure=measure)
        image = figure.axes[0].images[0]
        expected = result.matrix(measure).head(5)
        np.testing.assert_allclose(image.get_array(), expected)
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names == list(expected.index)
        low, high = image.get_clim()
        assert low == (-high if measure == "signed" else 0)


def test_maps_of_betas_show_the_strongest(fitted):
    adata, result = fitted
    figure = betas_maps.beta_maps(adata.obsm["spatial"], result, n=2)
    names = list(result.table()["modulator"].head(2))
    shown = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in shown] == names
    for axes, name in zip(shown, names, strict=True):
        betas = result.values[:, 1 + result.modulators.index(name)]
        low, high = axes.collections[0].get_clim()
        assert low == -high == pytest.approx(-symmetric_limit(betas))
    one = betas_maps.beta_maps(adata.obsm["spatial"], result, names, limit=2.0)
    assert {axes.collections[0].get_clim() for axes in one.axes[:2]} == {(-2.0, 2.0)}
    with pytest.raises(MissingKeyError, match="no modulator 'Nothere'"):
        betas_maps.beta_maps(adata.obsm["spatial"], result, ["Nothere"])


def test_dots_are_the_mean_betas_of_each_cell_type(fitted):
    _, result = fitted
    figure = betas_maps.modulator_dots(result, n=4)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert names == list(result.table()["modulator"].head(4))
    rows = {f"{fit.section} · {fit.cluster}": k for k, fit in enumerate(result.fits)}
    dots = axes.collections[0]
    drawn = {
        (names[int(y)], labels[int(x)]): value
        for (x, y), value in zip(dots.get_offsets(), dots.get_array(), strict=True)
    }
    for name in names:
        for label in labels:
            beta = result.coefficients[rows[label], 1 + result.modulators.index(name)]
            assert drawn.get((name, label), 0.0) == pytest.approx(beta)
    sizes, values = dots.get_sizes(), np.abs(dots.get_array())
    assert (np.diff(sizes[np.argsort(values)]) >= 0).all()


def test_scores_of_a_panel():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"gene": [f"G{k}" for k in range(60)], "r2": rng.random(60)})
    table["heldout_r2"] = table["r2"] - 0.3
    table.loc[3, "heldout_r2"] = np.nan
    figure = betas_maps.score_bars(table, n=10, threshold=0.2)
    left, right = figure.axes
    best = table.sort_values("heldout_r2", ascending=False).head(10)
    assert [label.get_text() for label in left.get_yticklabels()] == list(best["gene"])
    np.testing.assert_allclose([bar.get_width() for bar in left.patches], best["heldout_r2"])
    assert sum(bar.get_height() for bar in right.patches) == 59
    with pytest.raises(DataError, match="held-out"):
        betas_maps.score_bars(table.assign(heldout_r2=np.nan))


def test_nothing_loads_pyplot():
    script = (
        "import sys; from celldyn.plots import betas_maps, betas_perturb;"
        "print({'matplotlib.pyplot', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
