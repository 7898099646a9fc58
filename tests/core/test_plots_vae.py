"""Figures of the regularised VAE: what is drawn is what was given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from celldyn.data.palette import MISSING_COLOUR, PALETTE
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.plots import vae as plots


def history(n=100, every=10):
    epochs = np.arange(n)
    validation = np.where(epochs % every == 0, 1000.0 / (epochs + 1) + 50.0, np.nan)
    return pd.DataFrame(
        {
            "elbo_train": 1000.0 / (epochs + 1),
            "elbo_validation": validation,
            "kl_z_train": 0.1 * epochs,
            "kl_weight": np.minimum(epochs / 30, 1.0),
        },
        index=pd.RangeIndex(n, name="epoch"),
    )


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


# --- training ------------------------------------------------------------------------------------


def test_every_term_has_a_panel_with_training_and_held_out_cells():
    figure = plots.plot_training(history())
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == ["elbo", "kl z", "kl weight"]
    drawn = lines(shown[0])
    assert set(drawn) == {"training", "held-out cells"}
    table = history()
    np.testing.assert_array_equal(drawn["training"].get_ydata(), table["elbo_train"])
    seen = table["elbo_validation"].dropna()
    np.testing.assert_array_equal(drawn["held-out cells"].get_xdata(), seen.index)
    np.testing.assert_array_equal(drawn["held-out cells"].get_ydata(), seen)
    assert drawn["held-out cells"].get_linestyle() == "--"
    np.testing.assert_array_equal(shown[2].get_lines()[0].get_ydata(), table["kl_weight"])


def test_the_first_epochs_are_left_out_and_the_rest_keeps_its_numbers():
    drawn = lines(plots.plot_training(history(), skip_epochs=80).axes[0])
    np.testing.assert_array_equal(drawn["training"].get_xdata(), np.arange(80, 100))
    np.testing.assert_array_equal(drawn["held-out cells"].get_xdata(), [80, 90])


def test_the_best_epoch_is_a_line_unless_it_is_left_out():
    marked = plots.plot_training(history(), best_epoch=60)
    assert [list(lines(axes)["best epoch"].get_xdata()) for axes in marked.axes[:3]] == [
        [60] * 2
    ] * 3
    skipped = plots.plot_training(history(), skip_epochs=80, best_epoch=60)
    assert "best epoch" not in lines(skipped.axes[0])


def test_a_modality_has_panels_of_its_own_where_there_are_several():
    table = history()
    table["kl_z/rna_train"] = table["kl_z_train"]
    table["reconstruction_train"] = 3.0
    one = plots.plot_training(table)
    titles = ["elbo", "reconstruction", "kl z", "kl weight"]
    assert [axes.get_title() for axes in one.axes if axes.axison] == titles
    table["kl_z/rna_train"] *= 0.7
    table["kl_z/atac_train"] = 0.3 * table["kl_z_train"]
    several = plots.plot_training(table)
    titles = [*titles, "kl z/rna", "kl z/atac"]
    assert [axes.get_title() for axes in several.axes if axes.axison] == titles


def test_no_epoch_left_is_a_sentence():
    with pytest.raises(ConfigError, match="skip_epochs is 80, and there are 20 epochs"):
        plots.plot_training(history(20), skip_epochs=80)


# --- ambient RNA ---------------------------------------------------------------------------------


def ambient(n=30, groups=("a", "b")):
    rng = np.random.default_rng(0)
    return rng.gamma(1.0, 0.1, (n, len(groups))), list(groups), [f"G{k}" for k in range(n)]


def test_the_genes_with_most_background_are_listed_in_order():
    table, groups, genes = ambient()
    axes = plots.plot_ambient_profile(table, groups, genes, n_genes=5).axes[0]
    top = np.argsort(-table.mean(axis=1))[:5]
    assert [label.get_text() for label in axes.get_yticklabels()] == [genes[k] for k in top]
    drawn = lines(axes)
    for k, group in enumerate(groups):
        np.testing.assert_array_equal(drawn[group].get_xdata(), table[top, k])
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first is at the top


def test_every_gene_is_drawn_against_its_mean_expression():
    table, groups, genes = ambient()
    means = np.linspace(0.1, 2.0, len(genes))
    table[3, 1] = 0.0  # has no place on an axis of logarithms
    figure = plots.plot_ambient_profile(table, groups, genes, means, n_genes=5)
    first, second = (np.asarray(dots.get_offsets()) for dots in figure.axes[1].collections)
    np.testing.assert_allclose(first, np.column_stack([means, table[:, 0]]))
    kept = np.arange(len(genes)) != 3
    np.testing.assert_allclose(second, np.column_stack([means, table[:, 1]])[kept])
    assert figure.axes[1].get_xscale() == figure.axes[1].get_yscale() == "log"
    top = genes[int(table.mean(axis=1).argmax())]
    assert top in [text.get_text() for text in figure.axes[1].texts]


def test_tables_that_do_not_fit_are_sentences():
    table, groups, genes = ambient()
    with pytest.raises(DataError, match=r"\(30, 2\) does not fit 3 names"):
        plots.plot_ambient_profile(table, [*groups, "c"], genes)
    with pytest.raises(DataError, match="29 names do not fit 30 genes"):
        plots.plot_ambient_profile(table, groups, genes[1:])
    with pytest.raises(DataError, match="mean expression of shape"):
        plots.plot_ambient_profile(table, groups, genes, np.ones(7))


def shares():
    return pd.DataFrame(
        {
            "group": ["s0", "s1", "s2"],
            "share": [0.05, 0.1, 0.3],
            "low": [0.03, 0.08, np.nan],
            "high": [0.08, 0.12, np.nan],
        }
    )


def test_shares_stand_in_their_intervals():
    axes = plots.plot_ambient_shares(shares(), truth={"s0": 0.04, "s2": 0.25}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["s0", "s1", "s2"]
    np.testing.assert_allclose(lines(axes)["background"].get_xdata(), [5, 10, 30])
    np.testing.assert_allclose(lines(axes)["truth"].get_xdata(), [4, np.nan, 25])
    bars = [np.asarray(bar)[:, 0] for bar in axes.collections[0].get_segments() if len(bar)]
    np.testing.assert_allclose(bars[:2], [[3, 8], [8, 12]])
    assert "truth" not in lines(plots.plot_ambient_shares(shares()).axes[0])


def test_no_background_is_a_sentence():
    with pytest.raises(DataError, match="no group has a background; fit with use_additive"):
        plots.plot_ambient_shares(shares().iloc[:0])


# --- dispersion ----------------------------------------------------------------------------------


def test_every_gene_is_counted_once_in_each_group():
    theta = np.random.default_rng(0).gamma(2.0, 3.0, (500, 2))
    theta[7, 0] = 0.0
    axes = plots.plot_dispersion(theta, ["a", "b"], 6.25).axes[0]
    counts = {}
    for patch in axes.patches:
        corners = np.unique(patch.get_xy(), axis=0)
        edges = np.unique(corners[:, 0])
        heights = {x: patch.get_xy()[patch.get_xy()[:, 0] == x, 1].max() for x in edges}
        counts[patch.get_label()] = (len(edges), max(heights.values()))
    assert counts["a"][0] == counts["b"][0] == 61
    low, high = np.log10(theta[theta > 0].min()), np.log10(theta.max())
    expected = np.histogram(theta[:, 1], np.logspace(low - 0.05, high + 0.05, 61))[0]
    assert counts["b"][1] == expected.max()
    assert expected.sum() == 500
    assert list(lines(axes)["prior, λ²"].get_xdata()) == [6.25, 6.25]
    assert axes.get_xscale() == "log"


def test_each_group_can_have_a_prior_of_its_own_or_none():
    theta = np.full((5, 2), 3.0)
    axes = plots.plot_dispersion(theta, ["a", "b"], [4.0, 9.0]).axes[0]
    first, second, key = axes.get_lines()
    assert [line.get_xdata()[0] for line in (first, second)] == [4.0, 9.0]
    assert [to_hex(line.get_color()) for line in (first, second)] == list(PALETTE[:2])
    assert (len(key.get_xdata()), key.get_label()) == (0, "prior, λ²")
    assert not plots.plot_dispersion(theta, ["a", "b"], None).axes[0].get_lines()
    with pytest.raises(DataError, match="3 equilibria do not fit 2 groups"):
        plots.plot_dispersion(theta, ["a", "b"], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="no inverse dispersion is above 0"):
        plots.plot_dispersion(np.zeros((5, 1)), ["a"])


# --- attribution ---------------------------------------------------------------------------------

ATTRIBUTION = {"rna": np.array([4.0, 3.0, 1.0]), "atac": np.array([0.01, 0.01, 0.08])}
SLICES = {"rna": (0, 2), "atac": (2, 3)}


def test_each_row_of_the_attribution_sums_to_one_unless_asked():
    figure = plots.plot_attribution(ATTRIBUTION, SLICES)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(drawn, [[0.5, 0.375, 0.125], [0.1, 0.1, 0.8]])
    assert [line.get_xdata()[0] for line in figure.axes[0].get_lines()] == [1.5]
    assert {text.get_text() for text in figure.axes[0].texts} == {"of rna", "of atac"}
    plain = plots.plot_attribution(ATTRIBUTION, relative=False)
    np.testing.assert_allclose(plain.axes[0].images[0].get_array(), list(ATTRIBUTION.values()))
    unused = plots.plot_attribution({"rna": np.zeros(3)})
    assert not np.asarray(unused.axes[0].images[0].get_array()).any()


def test_the_scatter_has_a_dot_per_dimension_in_the_colour_of_its_encoder():
    axes = plots.plot_attribution_scatter(ATTRIBUTION, SLICES).axes[0]
    of_rna, of_atac = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    np.testing.assert_allclose(of_rna, [[4.0, 0.01], [3.0, 0.01]])
    np.testing.assert_allclose(of_atac, [[1.0, 0.08]])
    assert [dots.get_label() for dots in axes.collections] == ["made by rna", "made by atac"]
    turned = plots.plot_attribution_scatter(ATTRIBUTION, x="atac").axes[0]
    assert (turned.get_xlabel(), turned.get_ylabel()) == ("used by atac", "used by rna")
    assert len(np.asarray(turned.collections[0].get_offsets())) == 3


def test_attributions_that_cannot_be_drawn_are_sentences():
    with pytest.raises(DataError, match="shapes"):
        plots.plot_attribution({"rna": np.ones((5, 3))})
    with pytest.raises(DataError, match="shapes"):
        plots.plot_attribution({"rna": np.ones(3), "atac": np.ones(2)})
    with pytest.raises(ConfigError, match="needs two modalities"):
        plots.plot_attribution_scatter({"rna": np.ones(3)})
    with pytest.raises(MissingKeyError, match="no modality 'protein'; there are rna, atac"):
        plots.plot_attribution_scatter(ATTRIBUTION, y="protein")


# --- embeddings ----------------------------------------------------------------------------------


def cells(n=60):
    rng = np.random.default_rng(2)
    types = pd.Categorical(rng.choice(["T", "B"], n), categories=["B", "M", "T"])
    types[4] = np.nan
    frame = pd.DataFrame(
        {"type": types, "score": rng.normal(size=n)}, index=[f"c{k}" for k in range(n)]
    )
    return rng.normal(size=(n, 2)), frame


def dots_of(axes):
    dots = axes.collections[0]
    return np.asarray(dots.get_offsets()), dots


def colour_at(axes, place):
    offsets, dots = dots_of(axes)
    at = int(np.flatnonzero((offsets == place).all(axis=1))[0])
    return to_hex(dots.get_facecolors()[at])


def test_names_have_their_colours_and_a_legend():
    xy, frame = cells()
    axes = plots.plot_umap(xy, frame[["type"]], palettes={"type": {"T": "#ff0000"}}).axes[0]
    assert len(dots_of(axes)[0]) == len(xy)
    wanted = {"T": "#ff0000", "B": PALETTE[0]}
    for place, name in zip(xy, frame["type"], strict=True):
        assert colour_at(axes, place) == wanted.get(name, MISSING_COLOUR)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["B", "T"]


def test_numbers_have_a_colour_bar_and_the_largest_lies_on_top():
    xy, frame = cells()
    xy[3] = np.nan
    figure = plots.plot_umap(xy, {"score": frame["score"].to_numpy()})
    offsets, dots = dots_of(figure.axes[0])
    kept = np.delete(np.arange(60), 3)
    order = kept[np.argsort(frame["score"].to_numpy()[kept], kind="stable")]
    np.testing.assert_array_equal(offsets, xy[order])
    np.testing.assert_array_equal(dots.get_array(), frame["score"].to_numpy()[order])
    np.testing.assert_allclose(dots.get_clim(), np.percentile(frame["score"], [1, 99]))
    assert len(figure.axes) == 2


def test_embeddings_are_compared_in_one_scale_and_one_set_of_colours():
    xy, frame = cells()
    figure = plots.plot_umap_comparison({"before": xy, "after": xy[:, ::-1]}, frame)
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert [axes.get_title() for axes in panels] == ["before", "after", "", ""]
    assert [axes.get_ylabel() for axes in panels] == ["type", "", "score", ""]
    for place, turned in zip(xy, xy[:, ::-1], strict=True):
        assert colour_at(panels[0], place) == colour_at(panels[1], turned)
    assert panels[2].collections[0].get_clim() == panels[3].collections[0].get_clim()
    assert panels[0].get_legend() is None
    assert panels[1].get_legend() is not None


def test_cells_and_columns_that_do_not_fit_are_sentences():
    xy, frame = cells()
    with pytest.raises(DataError, match="59 values do not fit 60 cells"):
        plots.plot_umap(xy, frame.iloc[1:])
    with pytest.raises(DataError, match="give two axes"):
        plots.plot_umap(xy[:, 0], frame)
    with pytest.raises(DataError, match="nothing to compare"):
        plots.plot_umap_comparison({}, frame)


def test_a_long_legend_says_how_many_it_leaves_out():
    xy, _ = cells()
    many = [f"t{k:02}" for k in range(40)] + ["t00"] * 20
    legend = plots.plot_umap(xy, {"type": many}).axes[0].get_legend()
    assert legend.get_texts()[-1].get_text() == "and 16 more"


def test_the_module_loads_neither_matplotlib_nor_torch():
    script = "import celldyn.plots.vae, sys; print({'matplotlib', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
