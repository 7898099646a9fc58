"""What a perturbation says to a person: derivatives, notes, effects, and keys on the AnnData."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, config, sections
from perturb_cases import GENES, Dense, dense_splash, fields_of, tissue, wiring
from scipy.sparse import issparse

from celldyn import data, keys
from celldyn.betas import (
    PerturbConfig,
    fit_job,
    genes_with_betas,
    perturb,
    perturb_job,
    perturbed_names,
    prepare,
    prepare_perturb,
    read_perturbed,
    splash,
    write_perturbed,
    write_result,
)
from celldyn.errors import ConfigError, DataError, MissingKeyError, NotFittedError
from celldyn.jobs import run
from celldyn.perturbation import KNOCK_OUT, Change, Perturbation


def simulated(adata, model, fields, perturbation, **options):
    config = PerturbConfig(**options)
    inputs = prepare_perturb(adata, perturbation, config, fields=fields, model=model)
    return run(perturb_job(inputs, config), bar=False)


# --- derivatives -----------------------------------------------------------------------------


def signals(dense, X, gene):
    m = dense.fields[gene].modulators
    received = {li: dense.received(X, li, gated=True) for li, _ in m.lr}
    received_tfl = {li: dense.received(X, li, gated=False) for li, _ in m.tfl}
    return received, received_tfl


@pytest.mark.parametrize("gene", ["C", "D", "La", "Ra"])
def test_splash_is_the_derivative_of_the_prediction(gene):
    adata, model = tissue()
    adata.X = np.array(adata.X) + 0.5  # nothing at 0, where there is no derivative
    dense = Dense(adata, model, fields_of(adata, varying=("Ra",)), missing=False)
    field, m = dense.fields[gene], dense.fields[gene].modulators
    X = dense.X0
    received, received_tfl = signals(dense, X, gene)
    levels = pd.DataFrame(X, adata.obs_names, GENES)
    table = splash(field, levels, received, received_tfl)
    assert list(table.index) == list(adata.obs_names)
    assert list(table.columns) == sorted(set(m.features))

    def predict(levels, received, received_tfl):
        betas = field.values()
        columns = [levels[tf] for tf in m.regulators]
        columns += [received[li] * levels[re] for li, re in m.lr]
        columns += [received_tfl[li] * levels[tf] for li, tf in m.tfl]
        terms = zip(betas.T[1:], columns, strict=True)
        return betas[:, 0] + sum(b * np.asarray(x) for b, x in terms)

    step = 1e-4
    for name in table.columns:
        moved = []
        for sign in (1, -1):
            own = dict(levels)
            own[name] = own[name] + sign * step
            # What is received changes with the ligand; a ligand's own expression does not count.
            in_role = {x for pair in (*m.lr, *m.tfl) for x in pair[1:]} | set(m.regulators)
            heard = {k: v + sign * step * (k == name) for k, v in received.items()}
            heard_tfl = {k: v + sign * step * (k == name) for k, v in received_tfl.items()}
            moved.append(predict(own if name in in_role else levels, heard, heard_tfl))
        slope = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(table[name], slope, atol=1e-8)


def test_splash_scales_caps_and_gates():
    adata, model = tissue(thresholds=True)
    dense = Dense(adata, model, fields_of(adata), missing=True)
    gated = np.where(dense.X0 <= 1e-9, 0.0, dense.X0) * dense.active
    received, received_tfl = signals(dense, dense.X0, "D")
    options = {"beta_scale_factor": 2.0, "beta_cap": 0.2}
    table = splash(
        dense.fields["D"], pd.DataFrame(gated, columns=GENES), received, received_tfl, **options
    )
    truth = dense_splash(dense, "D", received, received_tfl, gated, scale=2.0, cap=0.2)
    for name, values in truth.items():
        np.testing.assert_allclose(table[name], values, atol=1e-12)
    assert table.abs().to_numpy().max() == pytest.approx(0.2)
    only = wiring()["E"]
    assert (table.loc[gated[:, GENES.index("Rb")] == 0, "Rb"] == 0).all()
    assert len(splash(fields_of(adata)["F"], {}, {}).columns) == 0
    with pytest.raises(MissingKeyError, match="modulator"):
        splash(dense.fields["D"], {}, received)
    with pytest.raises(DataError, match="one per cell"):
        splash(fields_of(adata)["E"], dict.fromkeys(only.features, np.ones(3)), received)


# --- what cannot be done ---------------------------------------------------------------------


def test_what_cannot_be_perturbed_is_said_before_computing():
    adata, model = tissue()
    fields = fields_of(adata)

    def notes(perturbation, of=fields):
        return " ".join(prepare_perturb(adata, perturbation, fields=of, model=model).notes)

    with pytest.raises(MissingKeyError, match="Nothere"):
        notes(Perturbation.knock_out("Nothere"))
    with pytest.raises(NotFittedError):
        prepare_perturb(adata, Perturbation.knock_out("A"))
    with pytest.raises(NotFittedError):
        notes(Perturbation.knock_out("A"), {})
    assert "modulates none" in notes(Perturbation({"G": Change("set", 3.0)}))
    assert "nothing changes" in notes(Perturbation.knock_out("Quiet"))
    assert notes(Perturbation.knock_out("A")) == ""
    silent = {"E": fields["E"]}
    silent["E"].coefficients[:] = 0.0
    assert "betas of A are 0 in E" in notes(Perturbation.knock_out("A"), silent)
    adata.uns["cell_thresholds"] = pd.DataFrame(0.0, adata.obs_names, ["Ra"])
    assert "counts in no cell" in notes(Perturbation.knock_out("Ra"))


def test_names_are_found_in_any_case_and_cells_by_name():
    adata, model = tissue()
    perturbation = Perturbation({"la": KNOCK_OUT}, adata.obs_names[:5])
    inputs = prepare_perturb(adata, perturbation, fields=fields_of(adata), model=model)
    assert list(inputs.perturbation.genes) == ["La"]
    assert inputs.rows.tolist() == [0, 1, 2, 3, 4]
    assert not inputs.forced.any()


def test_models_that_do_not_go_together_are_refused():
    adata = sections()
    for gene, more in (("Target", {}), ("LigA", {"kernel": "gaussian"})):
        options = {"section_key": "section", "cluster_annot": "type", "score_threshold": 0.0}
        fitted = config(**(options | more)).replace(target_gene=gene)
        write_result(adata, run(fit_job(prepare(adata, fitted, lr=PAIRS), fitted), bar=False))
    with pytest.raises(ConfigError, match="kernel 'truncated' and LigA with 'gaussian'"):
        prepare_perturb(adata, Perturbation.knock_out("Tf1"))


def test_genes_whose_model_predicts_nothing_can_be_left_out():
    adata, model = tissue()
    fields = fields_of(adata)
    scores = {"C": 0.5, "D": 0.05, "E": float("nan")}
    options = {"fields": fields, "model": model, "heldout_r2": scores}
    config = PerturbConfig(min_heldout_r2=0.2)
    inputs = prepare_perturb(adata, Perturbation.knock_out("A"), config, **options)
    result = run(perturb_job(inputs, config), bar=False)
    assert not result.of("D").any()
    assert result.of("C").any()
    assert result.of("E").any()  # its score is not known
    flags = dict(zip(result.genes, result.flags, strict=True))
    assert flags["C"] == ""
    assert flags["D"] == "low held-out R²"
    assert flags["E"] == "no held-out score"
    assert flags["A"] == "perturbed"
    assert "1 gene with a held-out R² below 0.2 does not respond." in result.notes


# --- effects ---------------------------------------------------------------------------------


def test_effects_are_means_over_the_cells_of_a_type():
    adata, model = tissue()
    result = simulated(adata, model, fields_of(adata), Perturbation.knock_out("A"))
    table = result.effects()
    assert len(table) == 3 * len(result.genes)
    for _, row in table.iterrows():
        cells = adata.obs["type"].to_numpy() == row["cluster"]
        delta = result.of(row["gene"])[cells].astype(float)
        before = np.array(adata[:, row["gene"]].X).mean()
        assert row["n_cells"] == cells.sum()
        assert row["mean"] == pytest.approx(delta.mean(), abs=1e-6)
        assert row["mean_abs"] == pytest.approx(np.abs(delta).mean(), abs=1e-6)
        assert row["sd"] == pytest.approx(delta.std(), abs=1e-6)
        assert row["relative"] == pytest.approx(delta.mean() / before, abs=1e-6)
        assert row["direction"] == ("up" if row["mean"] > 0 else "down" if row["mean"] else "none")
    halves = result.effects(by=np.arange(adata.n_obs) < 45)
    assert set(halves["cluster"]) == {False, True}
    with pytest.raises(DataError, match="labels"):
        result.effects(by=["x"])


def test_top_and_changed_genes_are_the_strongest_others():
    adata, model = tissue()
    result = simulated(adata, model, fields_of(adata), Perturbation.knock_out("A"))
    top = result.top(3)
    sizes = {g: np.abs(result.of(g)).mean() for g in result.genes if g != "A"}
    assert top["gene"].tolist() == sorted(sizes, key=lambda g: -sizes[g])[:3]
    assert result.top(3, confident_only=True).empty  # nothing was held out
    changed = result.de_genes(min_relative=0.2)
    assert (changed["relative"].abs() >= 0.2).all()
    assert "A" not in set(changed["gene"])
    for _, part in changed.groupby("cluster"):
        assert part["relative"].abs().is_monotonic_decreasing


# --- on the AnnData --------------------------------------------------------------------------


@pytest.mark.parametrize(("gene", "cells"), [("A", None), ("D", np.arange(4))])
def test_a_perturbed_tissue_comes_back_from_the_file(gene, cells, tmp_path):
    adata, model = tissue()
    perturbation = Perturbation.knock_out(gene, cells=cells)
    result = simulated(adata, model, fields_of(adata), perturbation)
    name = f"KO of {gene}/1"
    written = write_perturbed(adata, result, name)
    assert f"layers/betas_delta_{name.replace('/', '%2F')}" in written
    assert written == {
        *(row.path(name=name) for row in (keys.BETAS_DELTA, keys.BETAS_SHIFT, keys.PERTURBED)),
        keys.RECORDS.path(),
    }
    layer = adata.layers[keys.BETAS_DELTA(name=name)]
    assert layer.shape == adata.shape
    assert layer.dtype == np.float32
    assert issparse(layer) == (cells is not None)
    np.testing.assert_allclose(adata.obs[keys.BETAS_SHIFT(name=name)], result.shift)
    assert data.records(adata)[-1]["action"] == "betas.perturb"
    adata.write_h5ad(tmp_path / "tissue.h5ad")
    back = ad.read_h5ad(tmp_path / "tissue.h5ad")
    assert perturbed_names(back) == [name]
    again = read_perturbed(back, name)
    np.testing.assert_array_equal(again.delta, result.delta)
    assert again.perturbation == result.perturbation
    assert again.config == result.config
    assert again.genes == result.genes
    np.testing.assert_array_equal(again.flags, result.flags)
    pd.testing.assert_frame_equal(again.effects(), result.effects())
    stored = back.uns["celldyn"][keys.PERTURBED(name=name)]["effects"]["mean"]
    wide = result.effects().pivot(index="cluster", columns="gene", values="mean")
    np.testing.assert_allclose(stored, wide[list(result.genes)].to_numpy())


def test_what_does_not_fit_is_not_written_or_read():
    adata, model = tissue()
    result = simulated(adata, model, fields_of(adata), Perturbation.knock_out("D"))
    with pytest.raises(DataError, match="90 cells were perturbed"):
        write_perturbed(adata[:50].copy(), result, "x")
    with pytest.raises(MissingKeyError, match="any more"):
        write_perturbed(adata[:, ["A", "B"]].copy(), result, "x")
    with pytest.raises(DataError, match="no name"):
        write_perturbed(adata, result, " ")
    with pytest.raises(MissingKeyError, match="it has none"):
        read_perturbed(adata, "x")
    write_perturbed(adata, result, "x")
    adata.uns["celldyn"]["perturbed_x"]["schema"] = 99
    with pytest.raises(DataError, match="later version"):
        read_perturbed(adata, "x")
    adata.uns["celldyn"]["perturbed_x"] = {"perturbed": "x", "schema": 1}
    with pytest.raises(DataError, match="damaged"):
        read_perturbed(adata, "x")


def test_fitted_genes_are_perturbed_by_what_lies_on_the_anndata():
    adata = sections()
    fitted = config(section_key="section", cluster_annot="type", heldout_folds=3)
    inputs = prepare(adata, fitted, lr=PAIRS)
    fit = run(fit_job(inputs, fitted), bar=False)
    write_result(adata, fit)
    assert genes_with_betas(adata) == ["Target"]
    result = perturb(adata, Perturbation.knock_out("Tf1"), PerturbConfig(clip="none"), bar=False)
    names = perturbed_names(adata)
    assert names == ["knock-out of Tf1"]
    assert result.flags.tolist() == ["", "perturbed"]
    # The target reads Tf1 alone of what changes: the model's beta times its loss.
    at = list(fit.columns).index("beta_Tf1")
    lost = -fit.values[:, at] * adata.layers["imputed_count"][:, 1]
    np.testing.assert_allclose(result.of("Target"), lost, atol=2e-6)
    after = result.expression_after(adata)
    truth = adata.layers["imputed_count"][:, 0] + lost
    np.testing.assert_allclose(after["Target"], truth, atol=1e-5)
    np.testing.assert_allclose(after["Tf1"], 0.0, atol=1e-6)
    with pytest.raises(DataError, match="has no betas"):
        result.of("Tf3")
