"""The simulator's figures: what is drawn is what was computed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from celldyn.data.palette import default_colours
from celldyn.errors import ConfigError, MissingKeyError
from celldyn.jobs import run
from celldyn.plots import simulate as plots
from celldyn.plots import simulate_priors
from celldyn.plots.simulate_style import class_colours, gene_classes
from celldyn.simulate import (
    SimulationConfig,
    generate_gene_parameters,
    get_theta_gamma_prior,
    simulate_job,
)
from celldyn.simulate.presets import preset
from celldyn.simulate.region import molecules_of

CONFIG = SimulationConfig(
    seed=42, n_cells=200, n_celltype=3, n_genes=300, n_markers=50, theta_mu=3.0, theta_cv=0.5
)


def heights(axes, colour):
    """Heights of the bars of one colour, from left to right."""
    bars = [b for b in axes.patches if to_hex(b.get_facecolor()) == colour]
    return np.array([b.get_height() for b in sorted(bars, key=lambda b: b.get_x())])


# --- priors -----------------------------------------------------------------------------------


def test_the_bars_of_the_priors_are_histograms_of_their_draws():
    figure = plots.priors(CONFIG)
    left, right = figure.axes
    drawn = simulate_priors.prior_draws(CONFIG, "ct_0")
    for kind, colour in (
        ("marker", "#009e73"),
        ("housekeeping", "#e69f00"),
        ("silent", "#999999"),
    ):
        exact, _ = np.histogram(drawn[kind], 60, density=True)
        np.testing.assert_allclose(heights(left, colour), exact)
    exact, _ = np.histogram(drawn["theta"], 60, density=True)
    np.testing.assert_allclose(heights(right, "#d55e00"), exact)
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == [
        "marker μ (mean 0.75, CV 0.6)",
        "housekeeping μ (mean 0.2, CV 0.3)",
        "silent μ (mean 0.05, CV 1)",
    ]
    assert right.get_title() == "Prior on inverse dispersion θ\n(mean 3, CV 0.5)"


def test_the_draws_have_the_moments_of_the_priors_and_repeat():
    drawn = simulate_priors.prior_draws(CONFIG, "ct_0")
    for kind, mean, cv in (("marker", 0.75, 0.6), ("housekeeping", 0.2, 0.3),
                           ("silent", 0.05, 1.0), ("theta", 3.0, 0.5)):  # fmt: skip
        assert drawn[kind].mean() == pytest.approx(mean, rel=0.02)
        assert drawn[kind].std() / drawn[kind].mean() == pytest.approx(cv, rel=0.02)
    again = simulate_priors.prior_draws(CONFIG, "ct_0")
    assert all(np.array_equal(drawn[kind], again[kind]) for kind in drawn)


def test_a_type_with_priors_of_its_own_can_be_drawn():
    own = CONFIG.replace(celltype_priors={"ct_1": {"marker_mu": 2.0}})
    labels = plots.priors(own, celltype="ct_1").axes[0].get_legend().get_texts()
    assert labels[0].get_text() == "marker μ (mean 2, CV 0.6)"
    with pytest.raises(ConfigError, match="'ct_9' is no cell type; there are ct_0, ct_1, ct_2"):
        plots.priors(own, celltype="ct_9")


# --- the gene table ---------------------------------------------------------------------------


def test_the_heatmap_is_the_table_and_the_strip_its_classes():
    table = generate_gene_parameters(CONFIG)
    figure = plots.gene_parameters(table)
    heat, strip, bar, foot = figure.subfigs[0].axes
    mu = table[["ct_0_mu", "ct_1_mu", "ct_2_mu"]].to_numpy().T
    np.testing.assert_array_equal(heat.images[0].get_array(), mu)
    assert [label.get_text() for label in heat.get_yticklabels()] == ["ct_0", "ct_1", "ct_2"]
    assert bar.get_xlabel() == "μ (counts per cell)"
    shown = np.asarray(strip.images[0].get_array())[0]
    wanted = [default_colours(3)[k] for k in range(3) for _ in range(50)] + ["#aaaaaa"] * 150
    np.testing.assert_allclose(shown, [to_rgb(colour) for colour in wanted])
    named = [text.get_text() for text in foot.get_legend().get_texts()]
    assert named == ["ct_0 marker", "ct_1 marker", "ct_2 marker", "housekeeping"]


def test_there_is_a_box_per_class_in_a_panel_per_type():
    table = generate_gene_parameters(CONFIG)
    panels = plots.gene_parameters(table).subfigs[1].axes
    assert [axes.get_title() for axes in panels] == ["μ in ct_0", "μ in ct_1", "μ in ct_2"]
    for k, axes in enumerate(panels):
        assert len(axes.patches) == 4
        medians = sorted(
            line.get_ydata()[0] for line in axes.lines
            if line.get_color() == "black" and len(set(line.get_ydata())) == 1
            and np.ptp(line.get_xdata()) == pytest.approx(0.5)
        )  # fmt: skip
        own = table.loc[table["gene_type"] == f"ct_{k}_mkr", f"ct_{k}_mu"].median()
        assert medians[-1] == pytest.approx(own)
    assert len(plots.gene_parameters(table, celltypes=["ct_2"]).subfigs[1].axes) == 1


def test_silent_genes_and_named_kinds_have_classes_of_their_own():
    table = generate_gene_parameters(CONFIG.replace(n_silence=20))
    classes = gene_classes(table["gene_type"])
    assert classes.value_counts()["silent"] == 20
    table.loc[299, "gene_type"] = "ligand"
    colours = class_colours(gene_classes(table["gene_type"]), ["ct_0", "ct_1", "ct_2"])
    assert list(colours) == [
        "ct_0 marker", "ct_1 marker", "ct_2 marker", "ligand", "housekeeping", "silent"
    ]  # fmt: skip
    assert len(set(colours.values())) == 6


def test_a_table_that_is_none_is_refused():
    table = generate_gene_parameters(CONFIG)
    with pytest.raises(MissingKeyError, match="no gene_type"):
        plots.gene_parameters(table.drop(columns="gene_type"))
    with pytest.raises(MissingKeyError, match="no cell type 'B'; it has ct_0, ct_1, ct_2"):
        plots.gene_parameters(table, celltypes=["B"])
    with pytest.raises(MissingKeyError, match="no means"):
        plots.gene_parameters(table[["feature_name", "gene_type"]])


# --- sweeps -----------------------------------------------------------------------------------


def test_the_sweep_of_marker_mu_draws_every_class_in_every_panel():
    panels = plots.marker_mu_sweep([0.5, 2.0]).axes
    assert [axes.get_title() for axes in panels] == ["marker_mu = 0.5", "marker_mu = 2"]
    base = SimulationConfig(n_cells=50, n_celltype=3, n_genes=500, n_markers=125, marker_mu=2.0)
    table = generate_gene_parameters(base)
    mu = table.loc[table["gene_type"] == "ct_0_mkr", "ct_0_mu"]
    exact, _ = np.histogram(mu, 10, density=True)
    np.testing.assert_allclose(heights(panels[1], default_colours(3)[0]), exact)
    assert len(panels[1].patches) == 4 * 10
    assert len(panels[1].get_legend().get_texts()) == 4


def test_the_sweep_of_theta_counts_genes_and_says_var_over_mean():
    panels = plots.theta_sweep([0.5, 5.0], seed=3).axes
    ratios = []
    for axes, alpha in zip(panels, (0.5, 5.0), strict=True):
        counts = simulate_priors.theta_counts(
            get_theta_gamma_prior(alpha=alpha, rate=1.0), mu=1.0, n_genes=500, seed=3
        )
        exact, _ = np.histogram(counts, range(16))
        np.testing.assert_array_equal(heights(axes, "#0072b2"), exact)
        ratios.append(counts.var() / counts.mean())
        assert axes.get_title() == f"theta_alpha = {alpha:g}\nVar/Mean = {ratios[-1]:.2f}"
    assert ratios[0] > 2 * ratios[1], "the lower theta, the more the counts vary"


def test_the_sweep_of_theta_takes_mean_and_cv_as_well():
    by_mean = plots.theta_sweep(mu_cv=[(2.0, 2.0**-0.5)]).axes[0]
    by_shape = plots.theta_sweep([2.0]).axes[0]
    np.testing.assert_array_equal(heights(by_mean, "#0072b2"), heights(by_shape, "#0072b2"))
    assert by_mean.get_title().startswith("mean θ = 2, CV = 0.707")
    assert len(plots.theta_sweep().axes) == 4
    with pytest.raises(ConfigError, match="both as alphas and as"):
        plots.theta_sweep([1.0], mu_cv=[(1.0, 1.0)])


def test_the_plate_diagram_has_its_nodes_plates_and_arrows():
    axes = plots.plate_diagram().axes[0]
    texts = [text.get_text() for text in axes.texts]
    for node in (r"$\mu_{gc}$", r"$\theta_{gc}$", "$s_n$", "$Y_{ng}$", "marker\nμ prior"):
        assert node in texts
    assert len(axes.patches) == 3, "plates"
    assert sum(text.get_text() == "" for text in axes.texts) == 7, "arrows"
    assert len(axes.get_legend().get_texts()) == 4


# --- the tissue -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulation():
    config = preset("tumour-immune", n_cells=600, leakage_by_celltype=0.2)
    return run(simulate_job(config), bar=False)


def test_cells_nuclei_and_molecules_of_a_region_are_drawn(simulation):
    region = (50.0, 60.0, 150.0, 140.0)
    axes = plots.tissue(simulation, region=region).axes[0]
    cells = simulation.cells
    here = np.flatnonzero(cells["x"].between(50, 150) & cells["y"].between(60, 140))
    outlines, nuclei = axes.collections[:2]
    assert len(outlines.get_paths()) == len(nuclei.get_paths()) == here.size
    corners = nuclei.get_paths()[0].vertices[:-1]
    np.testing.assert_allclose(corners, simulation.shapes.vertices("nucleus", here[:1])[0])
    molecules = molecules_of(simulation, here)
    inside = molecules["x"].between(50, 150) & molecules["y"].between(60, 140)
    dots = {c.get_label(): len(c.get_offsets()) for c in axes.collections if len(c.get_offsets())}
    leaked = molecules["is_leaked"].astype(bool)
    assert dots["molecule"] == (inside & ~leaked).sum()
    assert dots["leaked molecule"] == (inside & leaked).sum() > 0
    assert axes.get_xlim() == (50, 150)
    assert axes.get_ylim() == (140, 60), "y grows downwards"
    named = {text.get_text() for text in axes.get_legend().get_texts()}
    assert named == {*cells["celltype"].iloc[here].unique(), "molecule", "leaked molecule"}


def test_molecules_of_some_cells_are_those_of_the_whole(simulation):
    rows = np.arange(40, 60)
    some = molecules_of(simulation, rows)
    every = simulation.transcripts
    ids = simulation.cells["cell_id"].to_numpy()[rows]
    whole = every[every["cell_id"].isin(ids)]
    order = ["cell_id", "feature_name", "x", "y"]
    columns = [*order, "is_leaked"]
    some, whole = (
        frame[columns].astype({"feature_name": str}).sort_values(order).to_numpy()
        for frame in (some, whole)
    )
    assert len(some) == simulation.counts[rows].sum()
    np.testing.assert_array_equal(some, whole)


def test_a_region_is_chosen_where_none_is_asked_for(simulation):
    axes = plots.tissue(simulation, molecules=False).axes[0]
    n_cells = len(axes.collections[0].get_paths())
    assert 180 < n_cells < 330
    with pytest.raises(ConfigError, match="there is no section 1"):
        plots.tissue(simulation, section=1)
    with pytest.raises(ConfigError, match="no extent"):
        plots.tissue(simulation, region=(10, 10, 10, 20))


def test_figures_load_no_pyplot_and_the_package_loads_no_matplotlib():
    script = (
        "import sys, celldyn.plots; early = 'matplotlib' in sys.modules;"
        "from celldyn.simulate import SimulationConfig;"
        "celldyn.plots.simulate; middle = 'matplotlib' in sys.modules;"
        "celldyn.plots.simulate.priors(SimulationConfig(n_cells=9, n_celltype=2, n_genes=9));"
        "print(early, middle, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "False"]
