"""A change is carried through the genes as the models say, and as SpaceTravLR's versions do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from perturb_cases import (
    GENES,
    Dense,
    dense_corrected,
    dense_released,
    fields_of,
    tissue,
)
from scipy.sparse import csr_matrix

from celldyn.betas import PerturbConfig, perturb_job, prepare_perturb
from celldyn.jobs import run
from celldyn.perturbation import KNOCK_OUT, Change, Perturbation

SOME = np.arange(0, 90, 3)


def simulate(adata, model, fields, perturbation, **config):
    config = PerturbConfig(**({"negligible": 0.0} | config))
    inputs = prepare_perturb(adata, perturbation, config, fields=fields, model=model)
    result = run(perturb_job(inputs, config), bar=False)
    whole = pd.DataFrame(0.0, adata.obs_names, adata.var_names)
    whole[list(result.genes)] = result.delta
    return whole.to_numpy(), result


PERTURBATIONS = {
    "factor and ligand": Perturbation.knock_out("A"),
    "ligand in some cells": Perturbation.knock_out("La", cells=SOME),
    "receptor": Perturbation({"Rb": KNOCK_OUT}),
    "several at once": Perturbation(
        {"B": Change("multiply", 2.5), "Lb": Change("add", 0.4), "E": Change("set", 1.0)}, SOME
    ),
}


def forced_by(adata, perturbation):
    genes = list(perturbation.genes)
    rows = perturbation.rows(adata)
    before = np.array(adata[:, genes].X)[rows]
    changes = perturbation.genes.values()
    after = [c.factor * x + c.offset for c, x in zip(changes, before.T, strict=True)]
    return genes, rows, np.array(after).T


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"thresholds": True, "sections": True},
        {"normalisation": "n_cells", "kernel": "gaussian", "scale_factor": 3.0},
        {"include_self": False, "thresholds": True},
    ],
    ids=["plain", "sections and thresholds", "gaussian", "without self"],
)
def test_corrected_is_the_difference_of_predictions(name, options):
    adata, model = tissue(**options)
    fields = fields_of(adata, complexes=True, varying=("E", "Ra"))
    perturbation = PERTURBATIONS[name]
    dense = Dense(adata, model, fields, missing=False)
    for bounds, n_steps in (("range", 4), ("max", 2), ("none", 3)):
        truth = dense_corrected(dense, *forced_by(adata, perturbation), n_steps, bounds)
        delta, _ = simulate(adata, model, fields, perturbation, n_propagation=n_steps, clip=bounds)
        np.testing.assert_allclose(delta, truth, atol=2e-6 * max(1.0, np.abs(truth).max()))
        assert np.abs(truth).max() > 0.1


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("version", ["0.1.18", "0.1.21"])
@pytest.mark.parametrize("thresholds", [False, True])
@pytest.mark.parametrize("cap", [None, 0.3])
def test_released_versions_are_as_they_are(name, version, thresholds, cap):
    adata, model = tissue(thresholds=thresholds, normalisation="n_cells", scale_factor=30.0)
    fields = fields_of(adata, varying=("D",))
    perturbation = PERTURBATIONS[name]
    dense = Dense(adata, model, fields, missing=True)
    bounds = "range" if version == "0.1.18" else "max"
    truth = dense_released(
        dense, *forced_by(adata, perturbation), 4, bounds, version=version, scale=0.7, cap=cap
    )
    more = {"version": version, "beta_scale_factor": 0.7, "beta_cap": cap}
    delta, _ = simulate(adata, model, fields, perturbation, **more)
    np.testing.assert_allclose(delta, truth, atol=2e-6)


def test_a_large_cap_changes_nothing_and_a_small_one_holds_the_derivative():
    adata, model = tissue(thresholds=True)
    fields = fields_of(adata, complexes=True, varying=("E",))
    perturbation = Perturbation.knock_out("A")
    free, _ = simulate(adata, model, fields, perturbation)
    capped, _ = simulate(adata, model, fields, perturbation, beta_cap=1e9)
    np.testing.assert_allclose(capped, free, atol=1e-6)
    small, _ = simulate(
        adata, model, fields, perturbation, beta_cap=1e-3, n_propagation=1, clip="none"
    )
    moved = np.abs(small[:, GENES.index("E")])
    assert moved.max() < 1e-3 * 5 * np.array(adata.X).max()


def test_a_receptor_knock_out_lasts_only_in_the_corrected_version():
    adata, model = tissue()
    fields = {"D": fields_of(adata)["D"]}
    perturbation = Perturbation.knock_out("Rb")
    for version, lasts in (("corrected", True), ("0.1.18", False), ("0.1.21", False)):
        first, _ = simulate(
            adata, model, fields, perturbation, version=version, n_propagation=1, clip="none"
        )
        later, _ = simulate(
            adata, model, fields, perturbation, version=version, n_propagation=2, clip="none"
        )
        of_d = GENES.index("D")
        assert np.abs(first[:, of_d]).max() > 0.05
        assert (np.abs(later[:, of_d]).max() > 0.05) == lasts


def test_released_genes_are_let_go():
    adata, model = tissue()
    fields = fields_of(adata)
    held = Perturbation.knock_out("B")
    let_go = Perturbation(held.genes, released_at=2)
    dense = Dense(adata, model, fields, missing=False)
    truth = dense_corrected(dense, *forced_by(adata, held), 4, "range", until=2)
    delta, _ = simulate(adata, model, fields, let_go)
    np.testing.assert_allclose(delta, truth, atol=2e-6)
    assert not delta[:, GENES.index("B")].any()
    assert simulate(adata, model, fields, held)[0][:, GENES.index("B")].any()


def test_one_step_reaches_one_hop():
    adata, model = tissue()
    fields = fields_of(adata)
    reached = []
    for n_steps in (1, 2):
        delta, _ = simulate(
            adata, model, fields, Perturbation.knock_out("D"), n_propagation=n_steps
        )
        reached.append({gene for gene, part in zip(GENES, delta.T, strict=True) if part.any()})
    assert reached[0] == {"D", "E"}
    assert reached[1] > reached[0]


def test_cells_out_of_reach_do_not_change_at_all():
    adata, model = tissue(200, seed=3)
    fields = {"E": fields_of(adata)["E"], "D": fields_of(adata)["D"]}
    m = fields["D"].modulators
    assert all(m.radii[ligand] <= 60 for ligand, _ in m.lr)
    xy = adata.obsm["spatial"]
    corner = np.flatnonzero((xy < 30).all(axis=1))
    delta, result = simulate(adata, model, fields, Perturbation.knock_out("La", cells=corner))
    distance = np.sqrt(((xy[:, None] - xy[corner][None]) ** 2).sum(axis=2)).min(axis=1)
    far = distance > 60
    assert far.any()
    assert not delta[far].any()
    assert (result.shift[far] == 0).all()
    near = np.setdiff1d(np.flatnonzero(~far), corner)
    assert delta[near].any()


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_changes_beyond_all_numbers_are_refused():
    from celldyn.errors import DataError

    adata, model = tissue()
    fields = fields_of(adata, scale=1e80)
    with pytest.raises(DataError, match="beyond all numbers"):
        simulate(adata, model, fields, Perturbation.knock_out("A"), clip="none", n_propagation=9)


def test_steps_and_previews_tell_how_it_goes():
    adata, model = tissue()
    fields = fields_of(adata)
    config = PerturbConfig()
    inputs = prepare_perturb(
        adata, Perturbation.knock_out("A"), config, fields=fields, model=model
    )
    job = perturb_job(inputs, config)
    shown, sizes = [], []
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            result = end.value
            break
        if progress.preview is not None:
            shown.append(progress.preview)
            sizes.append(progress.metrics["mean |delta|"])
    assert [preview.step for preview in shown] == [1, 2, 3, 4]
    np.testing.assert_allclose(sizes, result.steps)
    np.testing.assert_allclose(shown[-1].shift, result.shift, rtol=1e-5)
    assert "A" not in shown[-1].genes
    strongest = result.top(1)
    assert strongest["gene"].item() == shown[-1].genes[0]
    assert strongest["mean_abs"].item() == pytest.approx(shown[-1].mean_abs[0], rel=1e-5)


@pytest.mark.parametrize("version", ["corrected", "0.1.18"])
@pytest.mark.parametrize("cap", [None, 1.0])
def test_models_without_modulators_stay_where_they_are(version, cap):
    adata, model = tissue()
    fields = {"F": fields_of(adata)["F"]}
    perturbation = Perturbation({"G": Change("set", 3.0)})
    delta, result = simulate(adata, model, fields, perturbation, version=version, beta_cap=cap)
    assert result.genes == ("F", "G")
    np.testing.assert_allclose(delta[:, GENES.index("G")], 3.0 - adata.X[:, GENES.index("G")])
    assert not delta[:, GENES.index("F")].any()


def test_sparse_expression_is_the_same_expression():
    adata, model = tissue(thresholds=True)
    fields, perturbation = fields_of(adata), Perturbation.knock_out("La", cells=SOME)
    dense, _ = simulate(adata, model, fields, perturbation)
    adata.X = csr_matrix(adata.X)
    sparse, _ = simulate(adata, model, fields, perturbation)
    np.testing.assert_array_equal(sparse, dense)


def test_a_job_can_be_stopped_anywhere():
    adata, model = tissue()
    config = PerturbConfig()
    gone = Perturbation.knock_out("A")
    inputs = prepare_perturb(adata, gone, config, fields=fields_of(adata), model=model)
    n_steps = sum(1 for _ in perturb_job(inputs, config))
    for stop in range(n_steps):
        job = perturb_job(inputs, config)
        for _ in range(stop + 1):
            next(job)
        job.close()
        assert job.gi_frame is None
