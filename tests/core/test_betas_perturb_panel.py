"""A panel's store is perturbed like betas on the AnnData; the command line does both."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from panel_tissue import TARGETS, config, fitted, tissue

from celldyn.betas import (
    PerturbConfig,
    genes_with_betas,
    load_models_job,
    perturb_job,
    perturbed_names,
    prepare_perturb,
    read_models,
    read_perturbed,
    write_result,
)
from celldyn.betas.panel import BetaStore, find_store, write_panel
from celldyn.betas.perturbing import reading
from celldyn.cli import main
from celldyn.errors import ConfigError, NotFittedError
from celldyn.jobs import run
from celldyn.perturbation import Perturbation


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """A tissue and its fitted store, in one folder."""
    folder = tmp_path_factory.mktemp("panel")
    adata = tissue(noise=0.3)
    store = fitted(folder / "t.betas.zarr", adata, config(heldout_folds=3))
    write_panel(adata, store, file_path=folder / "t.h5ad")
    adata.write_h5ad(folder / "t.h5ad")
    return folder


def simulated(adata, fields, **more):
    options = PerturbConfig(negligible=0.0)
    inputs = prepare_perturb(adata, Perturbation.knock_out("Tf2"), options, fields=fields, **more)
    return run(perturb_job(inputs, options), bar=False)


def test_a_store_is_perturbed_like_its_fields(panel):
    adata, store = ad.read_h5ad(panel / "t.h5ad"), BetaStore.open(panel / "t.betas.zarr")
    assert sorted(store.genes) == sorted(TARGETS)
    of_store = simulated(adata, store)
    fields = {gene: store.field(gene) for gene in store.genes}
    of_fields = simulated(adata, fields, model=store.config)
    np.testing.assert_array_equal(of_store.delta, of_fields.delta)
    assert of_store.of("Target").any()
    known = dict(zip(of_store.genes, of_store.heldout_r2, strict=True))
    scores = store.scores()
    rows = scores[(scores["gene"] == "Target") & (scores["status"] == "fitted")]
    mean = np.average(rows["heldout_r2"], weights=rows["n_cells"])
    assert known["Target"] == pytest.approx(mean)
    assert np.isnan(of_fields.heldout_r2).all()


def test_the_second_step_goes_through_the_genes_of_the_first(panel):
    adata, store = ad.read_h5ad(panel / "t.h5ad"), BetaStore.open(panel / "t.betas.zarr")
    results = []
    for n_steps in (1, 2):
        config = PerturbConfig(n_propagation=n_steps, clip="none")
        inputs = prepare_perturb(adata, Perturbation.knock_out("Tf1"), config, fields=store)
        results.append(run(perturb_job(inputs, config), bar=False))
    first, second = results
    lost = -adata.layers["imputed_count"][:, 1]
    for gene in ("Tf2", "Target"):
        field = store.field(gene)
        at = 1 + field.modulators.names.index("Tf1")
        pairs = [k for k, name in enumerate(field.modulators.names) if name.endswith("#Tf1")]
        direct = field.values()[:, at] * lost
        if not pairs:  # else received ligands take part, too
            np.testing.assert_allclose(first.of(gene), direct, atol=1e-5)
    assert np.abs(second.of("Target") - first.of("Target")).max() > 1e-3


def test_models_are_found_beside_the_file_and_those_on_the_anndata_count_first(panel):
    adata, store = ad.read_h5ad(panel / "t.h5ad"), BetaStore.open(panel / "t.betas.zarr")
    models = read_models(adata, file_path=panel / "t.h5ad")
    assert set(models.fields) == set(TARGETS)
    again = run(load_models_job(store), bar=False)
    np.testing.assert_array_equal(simulated(adata, models).delta, simulated(adata, again).delta)
    result = store.result("Target")
    write_result(adata, result)
    assert genes_with_betas(adata) == ["Target"]
    adata.uns["celldyn"]["betas_Target"]["coefficients"] = 0 * result.coefficients
    adata.obsm["betas_Target"] = np.zeros_like(result.values)
    mixed = read_models(adata, file_path=panel / "t.h5ad")
    assert set(mixed.fields) == set(TARGETS)
    assert not mixed.fields["Target"].coefficients.any()
    assert mixed.fields["Tf2"].coefficients.any()


def test_what_was_read_stays_in_memory_as_far_as_there_is_room(panel, monkeypatch):
    store = BetaStore.open(panel / "t.betas.zarr")
    shelf = reading.Shelf(store, store.genes)
    assert shelf["Target"] is shelf["Target"]
    monkeypatch.setattr(reading, "_KEPT_BYTES", 0)
    bare = reading.Shelf(store, store.genes)
    assert bare["Target"] is not bare["Target"]
    assert len(bare) == 4
    with pytest.raises(KeyError):
        bare["Silent"]


def test_fields_from_nowhere_need_their_config(panel):
    adata, store = ad.read_h5ad(panel / "t.h5ad"), BetaStore.open(panel / "t.betas.zarr")
    with pytest.raises(ConfigError, match="give model"):
        simulated(adata, {"Target": store.field("Target")})
    del adata.uns["celldyn"]
    with pytest.raises(NotFittedError):
        read_models(adata)


# --- the command -----------------------------------------------------------------------------


def command(panel, out, *words):
    return main(["perturb", str(panel / "t.h5ad"), "-o", str(out), "-q", *words])


def test_the_command_writes_what_the_job_finds(panel, tmp_path, capsys):
    out = tmp_path / "out.h5ad"
    words = ["--genes", "Tf1", "tf2", "--change", "multiply", "--value", "2.5", "--name", "more"]
    more = ["--cells-where", "cell_type_int=2", "--n-propagation", "2", "--clip", "none"]
    assert command(panel, out, *words, *more) == 0
    said = capsys.readouterr().out
    assert "Tf1 × 2.5, Tf2 × 2.5" in said
    assert "Target" in said
    back = ad.read_h5ad(out)
    result = read_perturbed(back, "more")
    assert set(result.perturbation.genes) == {"Tf1", "Tf2"}
    assert result.config == PerturbConfig(n_propagation=2, clip="none")
    inside = back.obs["cell_type_int"].to_numpy() == 2
    assert not result.of("Tf1")[~inside].any()
    before = back.layers["imputed_count"][inside, 1]
    np.testing.assert_allclose(result.of("Tf1")[inside], 1.5 * before, rtol=1e-5)


def test_the_command_knocks_out_by_default_and_names_what_it_did(panel, tmp_path):
    out = tmp_path / "elsewhere" / "out.h5ad"
    assert command(panel, out, "--genes", "Tf1") == 0
    back = ad.read_h5ad(out)
    assert perturbed_names(back) == ["knock-out of Tf1"]
    store = find_store(back, out)  # it is still found from where the result lies
    assert store is not None
    assert sorted(store.genes) == sorted(TARGETS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--genes", "Nothere"], "Nothere"),
        (["--genes", "Tf1", "--change", "set"], "--value"),
        (["--genes", "Tf1", "--value", "2"], "--change"),
        (["--genes", "Tf1", "--cells-where", "cell_type_int"], "column=value"),
        (["--genes", "Tf1", "--cells-where", "cell_type_int=9"], "no cell"),
        (["--genes", "Tf1", "--cells-where", "kind=9"], "kind"),
        (["--genes", "Tf1", "--n-propagation", "0"], "n_propagation"),
    ],
)
def test_the_command_says_what_is_wrong(panel, tmp_path, capsys, words, said):
    assert command(panel, tmp_path / "out.h5ad", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out.h5ad").exists()
