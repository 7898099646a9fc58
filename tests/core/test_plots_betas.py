"""The cloud of modulators: sizes, colours, and that it repeats itself."""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import pytest
from betas_tissue import PAIRS, REGULATORS, tissue

from celldyn.betas import SpatialCellularProgramsEstimator
from celldyn.plots import betas as plots
from celldyn.plots.betas import modulator_cloud


def picture(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def cloud(**more):
    roles = {"ligands": ["Wnt5a"], "receptors": ["Fzd1"], "regulators": ["Sox2", "Pax6"]}
    return modulator_cloud("Myc", **(roles | more))


def test_figure_has_the_title_the_size_and_no_axes():
    figure = cloud()
    assert figure.get_size_inches().tolist() == [16, 8]
    axes = figure.axes[0]
    assert axes.get_title() == "Myc modulators"
    assert axes.title.get_fontsize() == 20
    assert not axes.axison
    assert axes.images[0].get_interpolation() == "bilinear"
    image = picture(figure)
    assert image.shape == (300, 800, 3)
    assert (image[0, 0] == 255).all()
    assert (image < 255).any()


def test_the_same_seed_draws_the_same_picture():
    assert np.array_equal(picture(cloud(seed=3)), picture(cloud(seed=3)))
    assert not np.array_equal(picture(cloud(seed=3)), picture(cloud(seed=4)))


def test_a_gene_in_two_roles_has_the_colour_of_the_first():
    def colours(**roles):
        return set(
            map(tuple, picture(modulator_cloud("g", sizes={"A": 1.0}, **roles)).reshape(-1, 3))
        )

    both = colours(receptors=["A"], ligands=["A"], regulators=["A"])
    assert both == colours(ligands=["A"])
    assert both != colours(receptors=["A"])
    assert colours(receptors=["A"], regulators=["A"]) == colours(receptors=["A"])


def test_sizes_follow_expression_and_fall_back_to_equal():
    names = ["Aa", "Bb"]
    assert plots._frequencies(names, {"Aa": 3.0, "Bb": 1.0}) == {"Aa": 3.0, "Bb": 1.0}
    assert plots._frequencies(names, {"Aa": 3.0, "Bb": 0.0}) == {"Aa": 3.0}
    assert plots._frequencies(names, {"Aa": 0.0}) == {"Aa": 1.0, "Bb": 1.0}
    assert plots._frequencies(names, None) == {"Aa": 1.0, "Bb": 1.0}
    equal, zero = cloud(), cloud(sizes=dict.fromkeys(["Wnt5a", "Fzd1", "Sox2", "Pax6"], 0.0))
    assert np.array_equal(picture(equal), picture(zero))
    assert not np.array_equal(picture(equal), picture(cloud(sizes={"Sox2": 5.0, "Fzd1": 1.0})))


def test_no_modulators_is_an_empty_figure():
    assert not modulator_cloud("Myc").axes[0].images


@pytest.fixture
def model():
    return SpatialCellularProgramsEstimator(tissue(60), "Target", regulators=REGULATORS, lr=PAIRS)


def test_estimator_returns_the_figure_or_shows_it(model, monkeypatch):
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure = model.plot_modulators(show=False)
    assert figure.axes[0].get_title() == "Target modulators"
    assert not plt.get_fignums()
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    assert model.plot_modulators() is None
    assert shown[0].axes[0].get_title() == "Target modulators"
    assert np.array_equal(picture(shown[0]), picture(figure))
    assert not np.array_equal(picture(model.plot_modulators(use_expression=False, show=False)),
                              picture(figure))  # fmt: skip
    plt.close("all")


def test_estimator_does_not_load_matplotlib():
    import subprocess

    script = "import celldyn.betas.model, sys; print({'matplotlib', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
